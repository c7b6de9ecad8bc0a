"""A vector for each word from its characters: convolutions, the largest value over the word, highway layers, a projection.

Characters are bytes of UTF-8, as in the published biLM: 256 of them spell any language, and none is ever unknown. (A
Hangul syllable is three.)

Source: Peters et al. 2018, https://arxiv.org/abs/1802.05365, section 3.4; Kim et al. 2016,
https://arxiv.org/abs/1508.06615, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

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
