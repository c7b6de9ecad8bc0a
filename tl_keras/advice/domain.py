"""How far from known text are these texts? A classifier's success at telling the two apart, and the perplexity of the encoder's masked-LM head."""

from __future__ import annotations

import dataclasses
import math
import re
import warnings
from collections.abc import Callable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_keras.data.examples import Examples
from tl_keras.pretraining.bert_tasks import Masking, mask_rows

if TYPE_CHECKING:  # so that reading a report loads no TensorFlow
    from tl_keras.text.preprocessor import Preprocessor

REFERENCES = ("en", "ko")
FOLDS = 5
_ENGLISH = frozenset(
    [
        "the",
        "of",
        "and",
        "to",
        "a",
        "in",
        "is",
        "it",
        "that",
        "was",
        "for",
        "on",
        "with",
        "this",
        "but",
        "not",
        "you",
        "i",
    ]
)


@dataclasses.dataclass(frozen=True)
class ProxyDistance:
    """How well a linear classifier tells the user's texts from reference texts.

    It saturates: two kinds of text need not differ much for a classifier to know them apart. It notices length and punctuation as well
    as words, and it says that texts differ from the reference, not that the encoder cannot read them. So it describes, and decides
    nothing.

    Attributes:
        texts: of the user; as many reference texts were used.
        error: fraction of the held-out texts that the classifier gets wrong; 0.5 is guessing.
    """

    texts: int
    error: float

    @property
    def distance(self) -> float:
        """`2 (1 - 2 error)`: 0 for texts that cannot be told apart, 2 for texts that always can."""
        return max(2.0 * (1.0 - 2.0 * self.error), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**dataclasses.asdict(self), "distance": self.distance}


def proxy_distance(vectors: np.ndarray, reference: np.ndarray, seed: int = 0) -> ProxyDistance:
    """The proxy A-distance of two sets of vectors, by cross-validation.

    Args:
        vectors: float `[n, width]` of the user's texts.
        reference: float `[m, width]`. Of the larger set as many as the smaller has are drawn, so that guessing is wrong half the time.
        seed: of the drawing and the folds.

    Source: Ben-David et al., "Analysis of Representations for Domain Adaptation", https://papers.nips.cc/paper/2983, section 4; as
        used by Glorot et al., "Domain Adaptation for Large-Scale Sentiment Classification", ICML 2011, section 4.4.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> one, other = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
        >>> proxy_distance(one, other + 20).distance, proxy_distance(one, other).distance < 0.7
        (2.0, True)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    size = min(len(vectors), len(reference))
    both = np.concatenate([values[rng.permutation(len(values))[:size]] for values in (vectors, reference)])
    sides = np.repeat([0, 1], size)
    # A strong penalty: with fewer texts than numbers in a vector, any two sets can be told apart on the training side.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    folds = StratifiedKFold(min(FOLDS, size), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that are constant
        guessed = cross_val_predict(model, both, sides, cv=folds)
    return ProxyDistance(size, float(np.mean(guessed != sides)))


def reference_texts(language: str) -> list[str]:
    """Sentences of plain prose that come with the package, about ninety, written for this project.

    Args:
        language: one of `REFERENCES`.
    """
    file = resources.files("tl_keras.advice") / "reference" / f"{language}.txt"
    return [line for line in file.read_text("utf-8").split("\n") if line.strip()]


def language_of(texts: Sequence[str]) -> str | None:
    """Which of the shipped references fits: `"ko"` for texts in Hangul, `"en"` for English, else None.

    Example:
        >>> language_of(["정말 재미있었어요 ㅋㅋ", "good이네요"]), language_of(["It was a good film."]), language_of(["Bu film çok iyi."])
        ('ko', 'en', None)
    """
    letters = [c for text in texts for c in text if c.isalpha()]
    if sum("가" <= c <= "힣" or "ㄱ" <= c <= "ㅣ" for c in letters) > 0.3 * len(letters):
        return "ko"
    words = [word for text in texts for word in re.findall(r"[a-z']+", text.lower())]
    latin = sum(c.isascii() for c in letters)
    # The commonest words make up a quarter of English; of other languages next to nothing.
    english = sum(word in _ENGLISH for word in words)
    return "en" if latin > 0.9 * len(letters) and english > 0.08 * max(len(words), 1) else None


MASK_FRACTION = 0.15
PREDICTIONS = 1500
"""Tokens to guess: enough for a standard error of about 0.08 of a loss of 4."""
ROWS = 16
"""Texts at once: logits over a vocabulary of 120,000 are large."""


@dataclasses.dataclass(frozen=True)
class PseudoPerplexity:
    """How well hidden tokens are guessed.

    Attributes:
        texts: how many were read.
        predictions: tokens that were hidden and guessed.
        loss: mean of `-log P(token | the rest)`, in nats.
        error: standard error of the loss.
        tokens_per_character: of the texts, spaces not counted.
    """

    texts: int
    predictions: int
    loss: float
    error: float
    tokens_per_character: float

    @property
    def perplexity(self) -> float:
        """`exp(loss)`: among how many equally likely tokens the choice seems to be."""
        return math.exp(self.loss)

    @property
    def bits_per_character(self) -> float:
        """The loss in bits, spread over the characters.

        Fairer between texts than the perplexity of a token: strange words fall into more tokens, each of which is easy to guess.
        """
        return self.loss / math.log(2) * self.tokens_per_character

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            **dataclasses.asdict(self),
            "perplexity": self.perplexity,
            "bits_per_character": self.bits_per_character,
        }


def pseudo_perplexity(
    mlm: Callable,
    preprocessor: Preprocessor,
    examples: Examples | Sequence[str],
    seq_length: int,
    *,
    fraction: float = MASK_FRACTION,
    predictions: int = PREDICTIONS,
    seed: int = 0,
) -> PseudoPerplexity | None:
    """Hide tokens, let the encoder guess them, and average the loss.

    A fraction of each text's tokens, at least one, is hidden behind `[MASK]`, in as many texts, drawn at random, or as many times
    over, as give `predictions` guesses. So a token misses a few neighbours more than if each were hidden by itself, as Salazar et al. do it: the
    figure is a little higher than theirs, costs a fraction, and can be compared with the held-out loss of pre-training. Unknown
    tokens are not asked for: they are easy to guess, and say nothing.

    Args:
        mlm: called with the packed inputs and `masked_lm_positions`, int32 `[batch, n]`; gives `mlm_logits`, float
            `[batch, n, vocabulary]`.
        preprocessor: of the encoder.
        examples: texts or pairs; longer ones are cut.
        seq_length: longest input in tokens.
        fraction: of the tokens that are hidden at once.
        predictions: how many guesses to average, at least.
        seed: of the choice.

    Returns:
        The figures, or None if there is no known token in the texts.

    Source: Salazar et al., "Masked Language Model Scoring", https://arxiv.org/abs/1910.14659, section 2.3; hiding several at once:
        Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, section 3.1.
    """
    if not isinstance(examples, Examples):
        examples = Examples.from_lists(list(examples))
    rng = np.random.default_rng(seed)
    packed, per_character = _pack(examples, preprocessor, seq_length)
    special = preprocessor.special_tokens
    avoid = [special["padding_id"], special["start_of_sequence_id"], special["end_of_segment_id"], special["mask_id"]]
    maskable = (packed["input_mask"] > 0) & ~np.isin(packed["input_word_ids"], [*avoid, preprocessor.unknown_id])
    masking = Masking(fraction=fraction, mask=1.0, random=0.0)
    lengths = packed["input_mask"].sum(axis=1)
    guesses = np.minimum(masking.count(lengths), maskable.sum(axis=1))
    rows = rng.permutation(np.flatnonzero(guesses))
    if not len(rows):
        return None
    # As many texts as one pass needs; and of few texts several passes, each with other tokens hidden.
    rows = rows[: np.searchsorted(np.cumsum(guesses[rows]), predictions) + 1]
    # Texts of like length share a batch.
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    packed = {name: value[rows] for name, value in packed.items()}
    ids, maskable, lengths = packed["input_word_ids"], maskable[rows], lengths[rows]
    losses: list[np.ndarray] = []
    for _ in range(math.ceil(predictions / guesses[rows].sum())):
        hidden, chosen = mask_rows(ids, maskable, lengths, masking, special["vocab_size"], special["mask_id"], rng)
        losses += _losses(mlm, {**packed, "input_word_ids": hidden}, ids, chosen)
    found = np.concatenate(losses)
    error = float(found.std(ddof=1) / math.sqrt(len(found))) if len(found) > 1 else math.inf
    return PseudoPerplexity(len(rows), len(found), float(found.mean()), error, per_character)


def _pack(examples: Examples, preprocessor: Preprocessor, seq_length: int) -> tuple[dict[str, np.ndarray], float]:
    """The packed texts, int `[n, length]` each, and how many tokens they have to a character."""
    import tensorflow as tf

    from tl_keras.text.preprocessor import token_counts, trim

    segments = [examples.texts] if examples.text_pairs is None else [examples.texts, examples.text_pairs]
    tokens = [preprocessor.tokenize(tf.constant(texts.tolist()), None) for texts in segments]
    count = sum(int(token_counts(t).numpy().sum()) for t in tokens)
    characters = sum(len("".join(text.split())) for texts in segments for text in texts)
    packed = trim(preprocessor.pack(tokens, seq_length))
    return {name: value.numpy() for name, value in packed.items()}, count / max(characters, 1)


def _losses(mlm: Callable, packed: dict[str, np.ndarray], labels: np.ndarray, chosen: np.ndarray) -> list[np.ndarray]:
    """`-log P` of the tokens at the chosen places, an array for each batch."""
    import tensorflow as tf

    from tl_keras.text.preprocessor import trim

    found = []
    for start in range(0, len(labels), ROWS):
        rows = slice(start, start + ROWS)
        places = chosen[rows]
        counts = places.sum(axis=1)
        # Chosen places first, in order; rows with fewer are filled up with whatever comes next and not counted.
        positions = np.argsort(~places, axis=1, kind="stable")[:, : counts.max()].astype("int32")
        real = np.arange(positions.shape[1]) < counts[:, np.newaxis]
        batch = trim({name: tf.constant(value[rows]) for name, value in packed.items()})
        positions = np.minimum(positions, int(batch["input_word_ids"].shape[1]) - 1)
        logits = mlm({**batch, "masked_lm_positions": tf.constant(positions)}, training=False)["mlm_logits"]
        wanted = tf.constant(np.take_along_axis(labels[rows], positions, axis=1), tf.int32)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, tf.cast(logits, tf.float32)).numpy()
        found.append(loss[real].astype("float64"))
    return found
