"""The layer that gives words their vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tl_keras._keras import keras, register, tf_variable
from tl_keras.encoders.blocks import EMBEDDINGS, Part, Parts
from tl_keras.encoders.encoder_layer import EncoderLayer
from tl_keras.encoders.layer_gradients import call_with_dense_gradients
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.encoders.word_vectors.preprocessor import FIRST_WORD, SEPARATOR, UNKNOWN, Vocabulary
from tl_keras.encoders.word_vectors.word_vectors import WordVectors
from tl_keras.errors import UserError


@register
class WordVectorLayer(EncoderLayer, keras.layers.Layer):
    """Numbers of words to their vectors; its config holds the words, so that a saved model still knows how to read texts.

    Inputs -> outputs: `input_word_ids`, int `[batch, length]` -> float `[batch, length, width]`; zeros for padding, unknown words and
    separators, which have no vector here (see `SpecialVectors`).

    Args:
        words: the vocabulary, in order.
        learned: how many of its first words can be learned; the vectors of the others are never trained.
        width: numbers in a vector.
        reading: how texts are read for it: the settings of `WordVectorEncoder` as a dict.
        transfer: what learns: `"freeze"`, `"fine-tune"`, or a `Transfer` with rates for `"embeddings"`.
        vocabulary: the same words with the vectors to begin with; without, they are zeros until weights are loaded.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        words: Sequence[str],
        learned: int,
        width: int,
        reading: Mapping[str, Any] | None = None,
        transfer: str | Mapping | Transfer = "fine-tune",
        vocabulary: Vocabulary | None = None,
        **kwargs,
    ):
        plan = Transfer.of(transfer)
        kwargs["trainable"] = plan.trains_encoder
        super().__init__(**kwargs)
        # In an object of our own: Keras would look through a hundred thousand strings for layers.
        self.vocabulary = vocabulary or Vocabulary(tuple(words), int(learned), int(width))
        # As text: Keras 2 wraps what is in a dict.
        self._reading = json.dumps(dict(reading or {}))
        self.learned_vectors = self.fixed_vectors = None
        self.transfer = plan

    @property
    def transfer(self) -> Transfer:
        """What learns. Setting it needs a model compiled anew, with a new optimizer: see `tl_keras.set_transfer`."""
        return self._transfer

    @transfer.setter
    def transfer(self, value: str | Mapping | Transfer) -> None:
        plan = Transfer.of(value)
        if plan.trains_encoder:
            plan.multipliers(self.parts)  # refuses what does not fit
        self._transfer = plan
        self.trainable = plan.trains_encoder

    @property
    def parts(self) -> Parts:
        """One part: the word vectors."""
        return Parts((Part(EMBEDDINGS, (0,)),), 0)

    @property
    def reading(self) -> dict[str, Any]:
        """How texts are read for it."""
        return json.loads(self._reading)

    def part_weights(self) -> dict[str, list]:
        """The weights of each part, by its name; of the words that cannot be learned, too."""
        return {EMBEDDINGS: [w for w in (self.learned_vectors, self.fixed_vectors) if w is not None]}

    def build(self, input_shape=None):
        """Make the two tables."""
        known = self.vocabulary

        def table(name, start, end, **options):
            begin = "zeros" if known.matrix is None else _begin_with(known.matrix[start:end])
            return self.add_weight(name=name, shape=(end - start, known.width), initializer=begin, **options)

        if known.learned:
            self.learned_vectors = table("word_vectors", 0, known.learned)
        if len(known) > known.learned:
            self.fixed_vectors = table("fixed_word_vectors", known.learned, len(known), trainable=False)
        # The weights have them now.
        self.vocabulary = Vocabulary(known.words, known.learned, known.width)
        super().build(input_shape)

    def call(self, ids):
        """Look the words up."""
        known, rows = self.vocabulary, tf.cast(ids, tf.int32) - FIRST_WORD
        vectors = tf.zeros(tf.concat([tf.shape(ids), [known.width]], axis=0), self.compute_dtype)
        tables = ((self.fixed_vectors, known.learned, len(known)), (self.learned_vectors, 0, known.learned))
        for table, start, end in tables:
            if table is not None:
                inside = (rows >= start) & (rows < end)
                places = tf.where(inside, rows - start, 0)
                found = tf.cast(call_with_dense_gradients(_Gather(tf_variable(table)), places), self.compute_dtype)
                vectors = tf.where(inside[..., tf.newaxis], found, vectors)
        return tf.ensure_shape(vectors, [*ids.shape, known.width])

    def compute_output_shape(self, input_shape):
        """`[batch, length, width]`."""
        return (*input_shape, self.vocabulary.width)

    def set_vectors(self, vectors: WordVectors) -> int:
        """Give the words of a built layer, as far as they have one there, the vectors of another file.

        Args:
            vectors: of the same width.

        Returns:
            How many words got a vector.

        Raises:
            UserError: they have another width.
        """
        known = self.vocabulary
        if vectors.width != known.width:
            raise UserError(
                f"{vectors.source} holds vectors of width {vectors.width}, but this model's words have {known.width} numbers; take "
                "vectors of that width, or build a new model."
            )
        got = 0
        for table, words in (
            (self.learned_vectors, known.words[: known.learned]),
            (self.fixed_vectors, known.words[known.learned :]),
        ):
            if table is not None:
                values = np.array(tf_variable(table))
                found = [(i, vector) for i, word in enumerate(words) if (vector := vectors.vector(word)) is not None]
                for i, vector in found:
                    values[i] = vector
                table.assign(values)
                got += len(found)
        return got

    def load_own_variables(self, store):
        """Load the weights of a saved model, if they are of these shapes."""
        own = [tuple(weight.shape) for weight in self.weights]
        for key in store.keys():  # noqa: SIM118  (Keras 3 gives an object that is no mapping)
            rows, width = store[key].shape
            if (rows, width) not in own:
                wanted = " and ".join(f"{rows:,} x {width}" for rows, width in own) or "none"
                raise UserError(
                    f"the saved model holds word vectors of {rows:,} x {width} numbers, this model {wanted}; build it with the vectors "
                    "and the training texts that the saved one was built with."
                )
        super().load_own_variables(store)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        known = self.vocabulary
        return {
            **super().get_config(),
            "words": list(known.words),
            "learned": known.learned,
            "width": known.width,
            "reading": self.reading,
            "transfer": self.transfer.to_config(),
        }


def _begin_with(values: np.ndarray):
    """An initializer that gives these values."""
    return lambda shape, dtype=None, **_: tf.constant(values, dtype or tf.float32, shape)


class _Gather:
    """Rows of one table; an object, so that the table is seen as a variable that the function reads."""

    def __init__(self, table: tf.Variable):
        self.table = table

    def __call__(self, places: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.table, places)


@register
class SpecialVectors(keras.layers.Layer):
    """Adds what stands for unknown words and for the separator of a pair: two vectors that the task learns, also beside frozen ones.

    Call arguments: `ids` int `[batch, length]` and `vectors` float `[batch, length, width]`, zeros in these places; returns the latter
    with the two vectors put in.

    Args:
        unknown: what the vector of unknown words begins with, float `[width]`; None for zeros.
    """

    def __init__(self, unknown: np.ndarray | None = None, **kwargs):
        super().__init__(**kwargs)
        # Not in the config: a saved model has weights.
        self._unknown = None if unknown is None else np.asarray(unknown, "float32")

    def build(self, input_shape):
        """Make the two vectors."""
        width = int(input_shape[1][-1])
        initializer = "zeros" if self._unknown is None else _begin_with(self._unknown)
        self.unknown_vector = self.add_weight(name="unknown_vector", shape=(width,), initializer=initializer)
        self.separator_vector = self.add_weight(name="separator_vector", shape=(width,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs):
        """Put them in."""
        ids, vectors = inputs
        for number, weight in ((UNKNOWN, self.unknown_vector), (SEPARATOR, self.separator_vector)):
            vector = tf.cast(tf.convert_to_tensor(weight), vectors.dtype)
            vectors = tf.where(tf.equal(tf.cast(ids, tf.int32), number)[..., tf.newaxis], vector, vectors)
        return vectors

    def compute_output_shape(self, input_shape):
        """`[batch, length, width]`."""
        return tuple(input_shape[1])

    def get_config(self) -> dict:
        """The constructor's arguments, without the vector that a saved model has in its weights."""
        return super().get_config()
