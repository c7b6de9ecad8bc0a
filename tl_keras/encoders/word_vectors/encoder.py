"""An encoder made of word vectors, with the same interface as a pre-trained one: `load_encoder` gives it for a file of vectors."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Iterable, Sequence

import numpy as np

from tl_keras._keras import keras
from tl_keras.data.examples import Examples
from tl_keras.data.given import check_texts
from tl_keras.encoders.base import Encoder
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.encoders.word_vectors.layer import SpecialVectors, WordVectorLayer
from tl_keras.encoders.word_vectors.preprocessor import (
    MAX_WORDS,
    Vocabulary,
    WordOffsetTokenizer,
    WordPreprocessor,
    choose_words,
    count_known,
    random_words,
)
from tl_keras.encoders.word_vectors.read import read_vectors
from tl_keras.encoders.word_vectors.word_vectors import (
    Coverage,
    WordVectors,
    count_words,
    coverage_of_counts,
)
from tl_keras.errors import UserError
from tl_keras.text.preprocessor import SAMPLE, TextReport

logger = logging.getLogger(__name__)

CONTEXTUAL_AT = ("input", "output", "both")


class WordVectorEncoder(Encoder):
    """Word vectors as an encoder: `text_classifier`, `token_classifier`, `predict` and `export` take it like any other.

    Make it with `word_vector_encoder`, or with `load_encoder("vectors.vec")`. A text's words are looked up, and come out as
    `sequence_output` in the order of the text; their mean stands in for BERT's `pooled_output`. What makes one word know of its
    neighbours is the recurrent network that the builders put behind it.

    Padding has no part in anything. A word without a vector gets the one of unknown words, which is learned (also beside frozen vectors);
    so a text of unknown words only is answered like any other. A text without words is all zeros, and the head answers by its bias.

    Args:
        vocabulary: its words, with vectors to begin with.
        lower_case: whether texts are made small.
        seq_length: longest text in words; longer ones are cut.
        name: how the user called it.
        vectors: all that the vocabulary was chosen from, if it may be chosen anew.
        contextual: an ELMo model, whose vectors are joined to these; or the handle of one.
        contextual_at: where: `"input"` beside the word vectors, `"output"` behind the recurrent network, or `"both"`.
        words_lower_case: whether the ELMo model reads small letters.
    """

    # What this package found to work; there is no folder that could tell.
    suggested = {"pooling": "mean", "learning_rate": 2e-3}  # noqa: RUF012
    default_recurrent = "lstm"
    default_pooling = "mean"
    known: Coverage | None = None
    """How much the vectors know of the texts that the encoder was made for."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        lower_case: bool = False,
        seq_length: int = 128,
        name: str = "word vectors",
        vectors: WordVectors | None = None,
        contextual=None,
        contextual_at: str = "input",
        words_lower_case: bool = False,
    ):
        super().__init__(name, "", seq_length, name)
        if contextual_at not in CONTEXTUAL_AT:
            raise UserError(f"contextual_at={contextual_at!r} is not known; choose one of: {', '.join(CONTEXTUAL_AT)}.")
        self.vocabulary = vocabulary
        self.lower_case = lower_case
        self.vectors = vectors
        self.contextual = contextual
        self.contextual_at = contextual_at
        self.words_lower_case = words_lower_case

    @classmethod
    def from_layer(cls, layer: WordVectorLayer) -> WordVectorEncoder:
        """The encoder whose layer this is."""
        known = layer.vocabulary
        return cls(Vocabulary(known.words, known.learned, known.width), **layer.reading)

    @property
    def takes_text(self) -> bool:
        """No: texts are split into words outside."""
        return False

    @functools.cached_property
    def preprocessor(self) -> WordPreprocessor:
        """What splits texts into words and numbers these."""
        return WordPreprocessor(
            self.vocabulary.words, self.lower_case, self.contextual is not None, self.words_lower_case
        )

    @functools.cached_property
    def offset_tokenizer(self) -> WordOffsetTokenizer:
        """The same, with each word's place in the text."""
        return WordOffsetTokenizer(self.preprocessor)

    def inputs(self) -> dict[str, keras.KerasTensor]:
        """Symbolic inputs for a functional model: `[batch, length]` by name."""
        names = {"input_word_ids": "int32", "input_mask": "int32"}
        if self.contextual is not None:
            names["input_words"] = "string"
        return {name: keras.Input(shape=(None,), dtype=dtype, name=name) for name, dtype in names.items()}

    def layer(self, trainable: bool | str | Transfer = False, name: str = "encoder") -> WordVectorLayer:
        """The table of vectors as a Keras layer.

        Args:
            trainable: whether they learn: a way of transfer.
            name: of the layer.

        Raises:
            UserError: there is no such way for word vectors, which have no blocks.
        """
        if isinstance(trainable, bool):
            trainable = Transfer("fine-tune" if trainable else "freeze")
        known = self.vocabulary
        return WordVectorLayer(
            known.words, known.learned, known.width, self._reading(), trainable, vocabulary=known, name=name
        )

    def outputs(self, transfer: bool | str | Transfer) -> tuple[dict, dict]:
        """Symbolic inputs, and what the encoder makes of them.

        Args:
            transfer: what learns.

        Returns:
            `(inputs, outputs)`: `sequence_output` float `[batch, length, width]`, zeros for padding.
        """
        inputs = self.inputs()
        vectors = self.layer(transfer)(inputs["input_word_ids"])
        if self.vocabulary.width:
            special = SpecialVectors(self.vocabulary.unknown, name="special_vectors")
            vectors = special([inputs["input_word_ids"], vectors])
        return inputs, {"sequence_output": vectors}

    def adapt(self, texts: Sequence[str], min_count: int = 2) -> WordVectorEncoder:
        """The same vectors, with the words of the training texts as those that learn.

        Training is quicker then, and words that fastText's subwords know get vectors. What the vectors know of the texts is logged.

        Args:
            texts: those to train on.
            min_count: words that occur less often keep their vectors as they are.

        Raises:
            UserError: none of the words has a vector.
        """
        check_texts(texts)
        if self.vectors is None:
            return self
        counts = count_words(texts, self.lower_case)
        coverage = coverage_of_counts(counts, self.vectors.rows, self.vectors.subwords)
        logger.log(logging.WARNING if coverage.token_fraction < 0.8 else logging.INFO, "%s: %s.", self.name, coverage)
        vocabulary = choose_words(self.vectors, counts, min_count, max(len(self.vocabulary), 1))
        made = WordVectorEncoder(vocabulary, vectors=self.vectors, **{**self._reading(), "contextual": self.contextual})
        made.known = coverage
        return made

    def coverage(self, texts: Iterable[str]) -> Coverage:
        """How much of some texts the words of this encoder cover."""
        known = frozenset(self.vocabulary.words)
        return coverage_of_counts(count_words(texts, self.lower_case), known)

    def report(self, examples: Examples) -> TextReport:
        """What splitting these texts into words and looking them up loses (from a sample of 2,000)."""
        rows = np.unique(np.linspace(0, len(examples) - 1, min(SAMPLE, len(examples))).astype(int))
        part = examples.take(rows)
        segments = [part.texts] if part.text_pairs is None else [part.texts, part.text_pairs]
        counted = [count_known(self.preprocessor, segment.tolist()) for segment in segments]
        lengths = sum(lengths for lengths, _ in counted) + len(segments) - 1
        # Without vectors of its own all words are the biLM's, which reads their letters.
        words = sum(int(lengths.sum()) for lengths, _ in counted) if self.vocabulary.words else 0
        return WordReport(
            texts=len(part),
            seq_length=self.seq_length,
            cut=float(np.mean(lengths > self.seq_length)),
            unknown=sum(unknown for _, unknown in counted) / words if words else 0.0,
            mean_length=float(lengths.mean()),
            longest=int(lengths.max()),
        )

    def _reading(self) -> dict:
        """How texts are read, for the layer's config."""
        reading = {"lower_case": self.lower_case, "seq_length": self.seq_length, "name": self.name}
        if self.contextual is not None:
            handle = self.contextual if isinstance(self.contextual, str) else self.contextual.handle
            reading.update(contextual=handle, contextual_at=self.contextual_at, words_lower_case=self.words_lower_case)
        return reading


@dataclasses.dataclass(frozen=True)
class WordReport(TextReport):
    """How a set of texts fares with word vectors; see `TextReport`. Lengths are in words."""

    @property
    def worrying(self) -> bool:
        """Whether so much is lost that the user should know before training."""
        return self.cut > 0.1 or self.unknown > 0.2

    def __str__(self) -> str:
        line = (
            f"{self.mean_length:.0f} words a text on average, {self.longest} in the longest; {self.cut:.1%} of the texts are cut at "
            f"{self.seq_length}, {self.unknown:.1%} of the words are unknown"
        )
        if self.unknown > 0.2:
            line += ". That is much: vectors with subwords (fastText's .bin), or learned from such texts, know more"
        return line + "."


def word_vector_encoder(
    vectors: WordVectors | str | os.PathLike | None,
    texts: Sequence[str] | None = None,
    *,
    lower_case: bool | None = None,
    seq_length: int = 128,
    min_count: int = 2,
    max_words: int = MAX_WORDS,
    width: int = 100,
    seed: int = 0,
    contextual=None,
    contextual_at: str = "input",
) -> WordVectorEncoder:
    """Make an encoder of word vectors, or of random vectors for the words of the training texts.

    A model built on it knows the words of the training texts that have a vector, and the first `max_words` of the vectors' file. It
    learns about those that the training texts have at least `min_count` times; nothing could move the others. All further words are
    unknown, and share one vector, which is learned. That holds for the export too: subwords give vectors to words of the training
    texts, not to words that come later.

    Args:
        vectors: from `read_vectors`, or a file of vectors. None for random ones, which need `texts`, or for none at all beside an ELMo
            model.
        texts: those to train on (not those to validate or test on). Without them all words can be learned, which takes the optimizer
            longer.
        lower_case: whether texts are made small; by default if the vectors have no capital letters.
        seq_length: longest text in words; longer ones are cut.
        min_count: see above; of random vectors, rarer words count as unknown.
        max_words: see above.
        width: of random vectors.
        seed: of random vectors.
        contextual: an ELMo model, from `load_elmo`.
        contextual_at: where its vectors are joined; see `WordVectorEncoder`.

    Raises:
        UserError: a file cannot be read, no word of the texts has a vector, or there are neither vectors nor texts.

    Example:
        >>> words = tlk.word_vector_encoder("ko.vec", ["a good film"])
        >>> tagger = tlk.token_classifier(words, ["PER", "LOC"])
    """
    if texts is not None:
        check_texts(texts)
    if max_words < 1 or min_count < 1 or width < 1:
        raise UserError(f"max_words, min_count and width must be at least 1, not {max_words}, {min_count} and {width}.")
    joined = {"contextual": contextual, "contextual_at": contextual_at}
    if contextual is not None:
        joined["words_lower_case"] = bool(contextual.lower_case)
    if vectors is None:
        lower_case = bool(lower_case)
        if texts is None:
            if contextual is None:
                raise UserError("random vectors need texts, whose words they are for: pass texts=train.texts.")
            nothing = Vocabulary((), 0, 0)
            return WordVectorEncoder(nothing, lower_case=lower_case, seq_length=seq_length, name="ELMo", **joined)
        vocabulary = random_words(count_words(texts, lower_case), width, min_count, seed)
        return WordVectorEncoder(
            vocabulary, lower_case=lower_case, seq_length=seq_length, name="random word vectors", **joined
        )
    if not isinstance(vectors, WordVectors):
        vectors = read_vectors(vectors)
    lower_case = vectors.is_lower_case if lower_case is None else bool(lower_case)
    encoder = WordVectorEncoder(
        choose_words(vectors, None, max_words=max_words),
        lower_case=lower_case,
        seq_length=seq_length,
        name=vectors.source,
        vectors=vectors,
        **joined,
    )
    return encoder if texts is None else encoder.adapt(texts, min_count)
