"""The biLM: a language model in each direction, on the same word vectors and below the same softmax.

Characters are bytes of UTF-8, as in the published biLM: 256 of them spell any language, and none is ever unknown. (A
Hangul syllable is three.)

Source: Peters et al. 2018, https://arxiv.org/abs/1802.05365, section 3.4; Kim et al. 2016,
https://arxiv.org/abs/1508.06615, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tl_keras.encoders.operations import lstm, reverse
from tl_keras.pretraining.bilm.sampled_softmax import (
    Negatives,
    sampled_softmax_losses,
    softmax_losses,
    total_softmax_loss,
)
from tl_keras.pretraining.settings import DEFAULT_FILTERS

# A word's bytes keep their values (no text holds a zero byte, so 0 is padding); then come the marks.
PADDING, WORD_BEGIN, WORD_END, TEXT_BEGIN, TEXT_END = 0, 256, 257, 258, 259
CHARACTERS = 260


def word_bytes(words: tf.Tensor, max_chars: int) -> tf.Tensor:
    """The bytes of words: uint8 `[words, max_chars - 2]`, cut or padded with zeros.

    Example:
        >>> word_bytes(tf.constant(["ab", "abcdef"]), max_chars=6).numpy().tolist()
        [[97, 98, 0, 0], [97, 98, 99, 100]]
    """
    return tf.io.decode_raw(words, tf.uint8, fixed_length=max_chars - 2)


def character_ids(bytes_of_words: tf.Tensor) -> tf.Tensor:
    """Put the mark of a word's beginning before its bytes, and that of its end behind them.

    Args:
        bytes_of_words: uint8 `[words, n]`, from `word_bytes`.

    Returns:
        int32 `[words, n + 2]`.

    Example:
        >>> character_ids(tf.constant([[97, 98, 0]], tf.uint8)).numpy().tolist()
        [[256, 97, 98, 257, 0]]
    """
    ids = tf.pad(tf.cast(bytes_of_words, tf.int32), [[0, 0], [1, 1]])
    sizes = tf.reduce_sum(tf.cast(bytes_of_words > 0, tf.int32), axis=1)
    places = tf.range(tf.shape(ids)[1])[tf.newaxis]
    ids = tf.where(places == sizes[:, tf.newaxis] + 1, WORD_END, ids)
    return tf.where(places == 0, WORD_BEGIN, ids)


def end_ids(max_chars: int) -> tf.Tensor:
    """The characters of the two words that stand for the ends of a text: int32 `[2, max_chars]`."""
    ids = np.zeros((2, max_chars), np.int32)
    ids[:, :3] = [[WORD_BEGIN, TEXT_BEGIN, WORD_END], [WORD_BEGIN, TEXT_END, WORD_END]]
    return tf.constant(ids)


class CharCnn(tf.Module):
    """Character ids of words -> their vectors.

    Args:
        width: of the vectors.
        char_width: of the vector of a character.
        filters: pairs (characters, number of filters).
        highways: highway layers: `g relu(W x + b) + (1 - g) x`, `g = sigmoid(V x + c)`.
        rng: source of the first values.
    """

    def __init__(
        self,
        width: int,
        char_width: int,
        filters: Sequence[tuple[int, int]],
        highways: int,
        rng: np.random.Generator,
    ):
        super().__init__(name="char_cnn")
        self.characters = _variable("char_embed", rng.uniform(-0.5, 0.5, (CHARACTERS, char_width)))
        # Scaled so that a filter's output has about the spread of one character's vector, whatever its width.
        self.kernels = [
            _variable(f"cnn/kernel_{size}", rng.normal(0.0, np.sqrt(2.0 / (size * char_width)), (size, char_width, n)))
            for size, n in filters
        ]
        self.biases = [_variable(f"cnn/bias_{size}", np.zeros(n)) for size, n in filters]
        total = sum(n for _, n in filters)
        self.highways = []
        for layer in range(highways):
            values = {
                "transform_kernel": rng.normal(0.0, np.sqrt(1.0 / total), (total, total)),
                "transform_bias": np.zeros(total),
                "gate_kernel": rng.normal(0.0, np.sqrt(1.0 / total), (total, total)),
                # The layer begins by passing most of its input on, as in the published code.
                "gate_bias": np.full(total, -2.0),
            }
            self.highways.append({name: _variable(f"highway_{layer}/{name}", value) for name, value in values.items()})
        self.kernel = _variable("projection/kernel", rng.normal(0.0, np.sqrt(1.0 / total), (total, width)))
        self.bias = _variable("projection/bias", np.zeros(width))

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Vectors of words.

        Args:
            ids: int32 `[words, characters]`, padded with zeros. More padding changes nothing.

        Returns:
            float32 `[words, width]`.
        """
        real = ids > PADDING
        vectors = tf.gather(self.characters, ids) * tf.cast(real, tf.float32)[..., tf.newaxis]
        found = []
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            # A filter may begin at any character and look beyond the word's end, where there are zeros; it does not begin
            # in the padding, so that the longest word of a batch says nothing about the others.
            padded = tf.pad(vectors, [[0, 0], [0, int(kernel.shape[0]) - 1], [0, 0]])
            values = tf.nn.conv1d(padded, kernel, stride=1, padding="VALID")
            values = tf.where(real[..., tf.newaxis], values, values.dtype.min)
            found.append(tf.nn.relu(tf.reduce_max(values, axis=1) + bias))
        x = tf.concat(found, axis=-1)
        for layer in self.highways:
            gate = tf.sigmoid(tf.matmul(x, layer["gate_kernel"]) + layer["gate_bias"])
            x = gate * tf.nn.relu(tf.matmul(x, layer["transform_kernel"]) + layer["transform_bias"]) + (1.0 - gate) * x
        return tf.matmul(x, self.kernel) + self.bias


def _variable(name: str, value: np.ndarray) -> tf.Variable:
    return tf.Variable(np.asarray(value, np.float32), name=name)


@dataclass(frozen=True)
class BilmShape:
    """The shape of a biLM; see `BilmSettings`, where these come from.

    Attributes:
        vocabulary_size: Words that are predicted.
        width, layers, cells: Of the LSTMs.
        tokens: `chars` or `words`.
        char_width, filters, highways: Of the character CNN.
        max_chars: Bytes of a word that are read, its two end marks included.
    """

    vocabulary_size: int
    width: int = 256
    layers: int = 2
    cells: int | None = None
    tokens: str = "chars"
    char_width: int = 16
    filters: tuple[tuple[int, int], ...] = DEFAULT_FILTERS
    highways: int = 1
    max_chars: int = 48

    @classmethod
    def of(cls, settings, vocabulary_size: int) -> BilmShape:
        """The shape that a run's settings ask for."""
        names = (name for name in cls.__annotations__ if name != "vocabulary_size")
        return cls(vocabulary_size, **{name: getattr(settings, name) for name in names})


class Bilm(tf.Module):
    """Two language models that share the vectors of the words and the softmax, and have LSTMs of their own.

    Source: Peters et al. 2018, https://arxiv.org/abs/1802.05365, section 3.1. As in the published code, each layer but the
    first adds its input to its output. Unlike there, each text begins from a zero state: its vectors depend on it alone.

    Args:
        shape: Of it.
        seed: Of the first values.
    """

    def __init__(self, shape: BilmShape, seed: int = 0):
        super().__init__(name="bilm")
        rng = np.random.default_rng([seed, 0xB11])
        self.shape, width = shape, shape.width
        self.char_cnn = self.embeddings = None
        if shape.tokens == "chars":
            self.char_cnn = CharCnn(width, shape.char_width, shape.filters, shape.highways, rng)
        else:
            self.embeddings = _variable("word_embeddings", rng.normal(0.0, 0.1, (shape.vocabulary_size, width)))
        cells = shape.cells or width
        bound = np.sqrt(6.0 / (2 * width + 4 * cells))  # Glorot's
        self.lstms = []
        for layer in range(shape.layers):
            for direction in ("forward", "backward"):
                name = f"{direction}/layer_{layer}"
                lstm = {
                    "kernel": _variable(f"{name}/kernel", rng.uniform(-bound, bound, (2 * width, 4 * cells))),
                    "bias": _variable(f"{name}/bias", np.zeros(4 * cells)),
                }
                if shape.cells:
                    start = rng.normal(0.0, np.sqrt(1.0 / cells), (cells, width))
                    lstm["projection"] = _variable(f"{name}/projection", start)
                self.lstms.append(lstm)
        start = rng.normal(0.0, np.sqrt(1.0 / width), (shape.vocabulary_size, width))
        self.softmax_weights = _variable("softmax/weights", start)
        self.softmax_bias = _variable("softmax/bias", np.zeros(shape.vocabulary_size))

    def word_vectors(self, features: tf.Tensor) -> tf.Tensor:
        """The vectors of words, whatever stands around them.

        Args:
            features: int32: `[words, characters]` for a character CNN, else ids `[words]`.

        Returns:
            float32 `[words, width]`.
        """
        return tf.gather(self.embeddings, features) if self.char_cnn is None else self.char_cnn(features)

    def states(
        self, vectors: tf.Tensor, lengths: tf.Tensor, dropout: float = 0.0, seed: tf.Tensor | None = None
    ) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """The states of every layer after each word.

        Args:
            vectors: float32 `[batch, length, width]`, the two ends of each text among them.
            lengths: int32 `[batch]`, likewise. Padding stands behind.
            dropout: Fraction of the inputs and outputs of the layers that is dropped.
            seed: int32 `[2]`, for dropout.

        Returns:
            For each layer the forward and the backward states, float32 `[batch, length, width]` each. A forward state
            knows the words up to its own, a backward state those from its own on. Both are undefined in the padding.
        """

        def drop(x, number):
            if not dropout:
                return x
            return tf.nn.experimental.stateless_dropout(x, dropout, seed + tf.constant([number, 0]))

        vectors = drop(vectors, 0)
        forward, backward = vectors, reverse(vectors, lengths)
        layers = []
        for layer in range(self.shape.layers):
            ahead, back = self._lstm(2 * layer, forward), self._lstm(2 * layer + 1, backward)
            ahead, back = drop(ahead, 2 * layer + 1), drop(back, 2 * layer + 2)
            forward, backward = (forward + ahead, backward + back) if layer else (ahead, back)
            layers.append((forward, reverse(backward, lengths)))
        return layers

    def _lstm(self, number: int, x: tf.Tensor) -> tf.Tensor:
        weights = self.lstms[number]
        return lstm(x, weights["kernel"], weights["bias"], weights.get("projection"))

    def predictions(self, states: tuple[tf.Tensor, tf.Tensor], ids: tf.Tensor, lengths: tf.Tensor):
        """What each direction has to predict, and from which states.

        Forward, the state after a word predicts the next one, `</S>` at last; backward, the one before, `<S>` at last.

        Args:
            states: Forward and backward states of the top layer.
            ids: int32 `[batch, length]`, what stands in the text (rare words already replaced by `<UNK>`).
            lengths: int32 `[batch]`.

        Returns:
            For each direction states float32 `[n, width]` and targets int32 `[n]`, with `n = sum(lengths - 1)`.
        """
        forward, backward = states
        here = tf.sequence_mask(lengths - 1, tf.shape(ids)[1] - 1)
        return (
            (tf.boolean_mask(forward[:, :-1], here), tf.boolean_mask(ids[:, 1:], here)),
            (tf.boolean_mask(backward[:, 1:], here), tf.boolean_mask(ids[:, :-1], here)),
        )

    def losses(self, directions, negatives: Negatives | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Minus the mean log-likelihood of a word, forward and backward; their sum is what training makes small.

        Args:
            directions: From `predictions`.
            negatives: Words drawn for the sampled softmax; None for the full one.
        """
        weights, bias = self.softmax_weights, self.softmax_bias
        if negatives is None:
            losses = [softmax_losses(hidden, targets, weights, bias) for hidden, targets in directions]
        else:
            losses = [
                sampled_softmax_losses(hidden, targets, negatives, weights, bias) for hidden, targets in directions
            ]
        return tuple(tf.reduce_mean(loss) for loss in losses)

    def total_losses(self, directions) -> list[tf.Tensor]:
        """Minus the log-likelihood of all words together, forward and backward, by the full softmax."""
        weights, bias = self.softmax_weights, self.softmax_bias
        return [total_softmax_loss(hidden, targets, weights, bias) for hidden, targets in directions]
