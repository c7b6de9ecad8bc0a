"""Strings to token ids, by the preprocessing module that belongs to the encoder; and what that loses: cut texts, unknown tokens."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the ops that preprocessing modules are made of)

from tl_keras.data.examples import Examples
from tl_keras.errors import UserError
from tl_keras.saved_models import load_saved_model
from tl_keras.text.offsets import compose, wants_syllables


class Preprocessor:
    """A loaded TF Hub text preprocessing module: `tokenize`, `bert_pack_inputs` and its special tokens.

    Args:
        folder: the module's SavedModel folder.

    Raises:
        UserError: the SavedModel lacks the preprocessing interface.

    Source: the interface is the one of TF Hub's "text preprocessing" modules, described at
        https://www.tensorflow.org/hub/common_saved_model_apis/text
    """

    special_tokens_around = (1, 1)
    """How many special tokens `pack` puts before a single text, and behind it."""

    def __init__(self, folder: str):
        self.folder = str(folder)
        self.module = load_saved_model(self.folder)
        missing = [name for name in ("tokenize", "bert_pack_inputs") if not hasattr(self.module, name)]
        if missing:
            raise UserError(f"{folder} is not a text preprocessing module: it has no {' and no '.join(missing)}.")

    def tokenize(self, texts: tf.Tensor, role: str | None = "query") -> tf.RaggedTensor:
        """Split texts into tokens, behind the prompt that the encoder was trained to see before them, if there is one.

        Args:
            texts: string `[batch]`.
            role: what the texts are: `"query"`, which also stands for texts that are classified or compared; `"passage"`, to be
                searched in; None for no prompt.

        Returns:
            int32 ids, ragged `[batch, (tokens)]` or `[batch, (words), (tokens)]`, as the module gives them.
        """
        texts = compose(texts) if self.composes else texts
        prompt = self.prompts.get(role, "")
        return self.module.tokenize(tf.strings.join([prompt, texts]) if prompt else texts)

    @functools.cached_property
    def prompts(self) -> dict[str, str]:
        """What the module's makers want put before a text, by its role; empty for most encoders."""
        # Read outside any graph that is being traced when it is first asked for.
        with tf.init_scope():
            found = self.module.get_prompts() if hasattr(self.module, "get_prompts") else {}
            return {role: prompt.numpy().decode() for role, prompt in found.items()}

    @functools.cached_property
    def prompt_ids(self) -> set[int]:
        """The ids of the tokens that prompts consist of."""
        tokens = self.tokenize(tf.constant([*self.prompts.values(), ""]), None)
        return set(tokens.flat_values.numpy().tolist())

    @functools.cached_property
    def composes(self) -> bool:
        """Whether decomposed Hangul is composed first, because the vocabulary has syllables and not their parts."""
        with tf.init_scope():  # asked for the first time while a graph is made, perhaps
            return wants_syllables(self.module.tokenize, self.unknown_id)

    def pack(self, segments: Sequence[tf.RaggedTensor], seq_length: int) -> dict[str, tf.Tensor]:
        """Join one or two segments with the special tokens of the encoder, cut to `seq_length`, pad.

        Args:
            segments: what `tokenize` returned, one entry for each segment.
            seq_length: length of the result, in tokens.

        Returns:
            The module's own dict (usually `input_word_ids`, `input_mask`, `input_type_ids`), int32 `[batch, seq_length]`.
        """
        return self.module.bert_pack_inputs(list(segments), seq_length=seq_length)

    @functools.cached_property
    def special_tokens(self) -> dict[str, int]:
        """The ids of the special tokens: `padding_id`, `start_of_sequence_id`, `end_of_segment_id`, `mask_id`; `vocab_size`."""
        return {name: int(value) for name, value in self.module.tokenize.get_special_tokens_dict().items()}

    @functools.cached_property
    def separators(self) -> int:
        """How many special tokens `pack` puts between two texts, found by asking: `[SEP]`, or `</s> </s>`."""
        tokens = self.tokenize(tf.constant(["a"]), None)
        single, double = (self.pack([tokens] * number, 64)["input_mask"] for number in (1, 2))
        return int(tf.reduce_sum(double)) - int(tf.reduce_sum(single)) - int(tf.reduce_sum(token_counts(tokens)))

    def special_count(self, texts: int) -> int:
        """How many special tokens there are in an input of one text or two."""
        return sum(self.special_tokens_around) + (self.separators if texts > 1 else 0)

    @functools.cached_property
    def unknown_id(self) -> int:
        """The id of a token that is not in the vocabulary, found by asking: not every module names it; -1 where there is none.

        Byte-level vocabularies have a token for whatever comes.
        """
        # No vocabulary has cuneiform (private-use characters will not do: tokenizers drop them). SentencePiece may put a word
        # mark before the unknown token, so the last id counts.
        first, second = (
            int(np.asarray(self.module.tokenize(tf.constant([text])).flat_values)[-1])
            for text in ("\U00012217\U000122f0", "\U000122f0\U00012217")
        )
        return first if first == second else -1


def token_counts(tokens: tf.RaggedTensor) -> tf.Tensor:
    """How many tokens each text has: int64 `[batch]`, special tokens not counted.

    Example:
        >>> token_counts(tf.ragged.constant([[[5, 6], [7]], [], [[8]]])).numpy().tolist()
        [3, 0, 1]
    """
    while tokens.ragged_rank > 1:
        tokens = tokens.merge_dims(-2, -1)
    return tokens.row_lengths()


def fit_length(packed: dict[str, tf.Tensor], fixed: int | None) -> dict[str, tf.Tensor]:
    """Packed ids as a model is to see them.

    Args:
        packed: int32 `[batch, length]` each.
        fixed: their length, which becomes known (TPUs want one shape); None to trim them. The element's shape then stays
            `[None, None]`: a static length would retrace the model for each one.
    """
    if fixed is None:
        return trim(packed)
    return {name: tf.ensure_shape(value, [None, fixed]) for name, value in packed.items()}


def trim(packed: dict[str, tf.Tensor], multiple: int = 4) -> dict[str, tf.Tensor]:
    """Cut the padding that a whole batch shares, to the longest text's length rounded up to a multiple.

    Args:
        packed: int32 `[batch, length]` each. Without an `input_mask` nothing is cut.
        multiple: keeps the number of different shapes small. (With 8, short texts train 8 % slower: more of them is padding.)

    Example:
        >>> packed = {"input_mask": tf.constant([[1, 1, 1] + [0] * 13]), "input_word_ids": tf.range(16)[tf.newaxis]}
        >>> trim(packed)["input_word_ids"].shape
        TensorShape([1, 4])
    """
    if "input_mask" not in packed:
        return packed
    mask = tf.convert_to_tensor(packed["input_mask"])
    positions = tf.range(1, tf.shape(mask)[1] + 1, dtype=mask.dtype)
    longest = tf.reduce_max(tf.where(mask > 0, positions, 0))
    longest = tf.maximum((longest + multiple - 1) // multiple, 1) * multiple
    return {name: value[:, :longest] for name, value in packed.items()}


SAMPLE = 2000
"""Texts that are looked at: enough for fractions exact to about one percent point."""


@dataclasses.dataclass(frozen=True)
class TextReport:
    """How a set of texts fares with a tokenizer.

    Args:
        texts: how many texts were looked at.
        seq_length: the limit, in tokens, special tokens included.
        cut: fraction of the texts longer than that.
        unknown: fraction of the tokens that are unknown.
        mean_length: tokens in a text on average, special tokens included.
        longest: tokens in the longest text, special tokens included.
    """

    texts: int
    seq_length: int
    cut: float
    unknown: float
    mean_length: float
    longest: int

    @property
    def worrying(self) -> bool:
        """Whether so much is lost that the user should know before training."""
        return self.cut > 0.1 or self.unknown > 0.05

    def __str__(self) -> str:
        line = (
            f"{self.mean_length:.0f} tokens a text on average, {self.longest} in the longest; {self.cut:.1%} of the texts are "
            f"cut at {self.seq_length}, {self.unknown:.1%} of the tokens are unknown to the vocabulary"
        )
        if self.unknown > 0.05:
            line += ". That is much: is this encoder made for this language and script?"
        elif self.cut > 0.1:
            line += ". A larger seq_length (--seq-length) keeps more, and takes longer."
        return line


def text_report(examples: Examples, preprocessor: Preprocessor, seq_length: int, sample: int = SAMPLE) -> TextReport:
    """Tokenize a sample of texts, evenly spread, and count what is cut and what is unknown.

    Args:
        examples: texts, single or pairs.
        preprocessor: of the encoder.
        seq_length: the limit in tokens.
        sample: how many texts to look at.
    """
    rows = np.unique(np.linspace(0, len(examples) - 1, min(sample, len(examples))).astype(int))
    part = examples.take(rows)
    segments = [part.texts] if part.text_pairs is None else [part.texts, part.text_pairs]
    tokens = [preprocessor.tokenize(tf.constant(segment.tolist())) for segment in segments]
    lengths = sum(token_counts(t) for t in tokens).numpy() + preprocessor.special_count(len(segments))
    ids = np.concatenate([t.flat_values.numpy() for t in tokens])
    return TextReport(
        texts=len(part),
        seq_length=seq_length,
        cut=float(np.mean(lengths > seq_length)),
        unknown=float(np.mean(ids == preprocessor.unknown_id)) if len(ids) else 0.0,
        mean_length=float(lengths.mean()),
        longest=int(lengths.max()),
    )
