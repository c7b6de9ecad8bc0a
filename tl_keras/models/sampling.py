"""How the next token is chosen, with settings that are inputs of the graph instead of constants in it."""

from __future__ import annotations

import keras_hub
import tensorflow as tf


class InputSampler(keras_hub.samplers.Sampler):
    """KerasHub's decoding loop, with temperature, top-k and top-p of each row's own.

    A row's text depends on its prompt, its settings and its seed, not on the rows beside it.

    Args:
        temperature: float32 `[batch]`; 0 takes the likeliest token each time.
        top_k: int32 `[batch]`; choose among so many of the likeliest tokens, 0 for all.
        top_p: float32 `[batch]`, above 0; choose among the likeliest tokens that have this probability together.
        draws: float32 `[batch, positions]`, uniform between 0 and 1: chance, for each position of the text.
    """

    def __init__(self, temperature, top_k, top_p, draws):
        super().__init__()
        self.settings, self.draws, self._index = (temperature, top_k, top_p), draws, 0

    def __call__(self, next, *arguments, **named):
        """Run the loop; KerasHub calls this."""

        def at_position(prompt, cache, index):
            # The loop hands the position to `next` alone, and chooses the token right after.
            self._index = index
            return next(prompt, cache, index)

        return super().__call__(at_position, *arguments, **named)

    def compute_probabilities(self, logits):
        """Probabilities float32 `[batch, vocabulary]` at each row's temperature."""
        temperature = self.settings[0][:, tf.newaxis]
        return tf.nn.softmax(tf.cast(logits, tf.float32) / tf.where(temperature > 0.0, temperature, 1.0))

    def get_next_token(self, probabilities):
        """Ids int32 `[batch]`."""
        return choose_tokens(probabilities, *self.settings, self.draws[:, self._index])


def choose_tokens(probabilities, temperature, top_k, top_p, draws) -> tf.Tensor:
    """Choose a token for each row: top-k, then top-p, then by chance.

    Args:
        probabilities: float32 `[batch, vocabulary]`.
        temperature: float32 `[batch]`; where it is 0 the likeliest token is taken.
        top_k: int32 `[batch]`, 0 for all.
        top_p: float32 `[batch]`.
        draws: float32 `[batch]` between 0 and 1; equal draws choose equal tokens.

    Returns:
        int32 `[batch]`.

    Source: Fan et al. 2018, https://arxiv.org/abs/1805.04833 (top-k); Holtzman et al. 2019, https://arxiv.org/abs/1904.09751 (top-p).

    Example:
        >>> p = tf.constant([[0.5, 0.1, 0.4]] * 4)
        >>> one, k, draws = tf.ones(4), tf.constant([0, 0, 0, 2]), tf.constant([0.0, 0.6, 0.95, 0.95])
        >>> choose_tokens(p, one, k, one, draws).numpy().tolist()
        [0, 2, 1, 2]
        >>> choose_tokens(p, one, k * 0, one * 0.7, draws).numpy().tolist(), choose_tokens(p, one * 0, k, one, draws).numpy().tolist()
        ([0, 2, 2, 2], [0, 0, 0, 0])
    """
    vocabulary = tf.shape(probabilities)[1]
    likely, ids = tf.math.top_k(probabilities, vocabulary)
    rank = tf.range(vocabulary)[tf.newaxis]
    likely = tf.where((top_k[:, tf.newaxis] <= 0) | (rank < top_k[:, tf.newaxis]), likely, 0.0)
    likely /= tf.reduce_sum(likely, -1, keepdims=True)
    # The token with which the sum reaches top-p is among those to choose from; so the first always is.
    likely = tf.where(tf.cumsum(likely, -1, exclusive=True) < top_p[:, tf.newaxis], likely, 0.0)
    below = tf.cumsum(likely, -1) <= draws[:, tf.newaxis] * tf.reduce_sum(likely, -1, keepdims=True)
    # Rounding may carry a draw near 1 past the last token that is left.
    last = tf.reduce_sum(tf.cast(likely > 0.0, tf.int32), -1) - 1
    place = tf.minimum(tf.reduce_sum(tf.cast(below, tf.int32), -1), last)
    place = tf.where(temperature > 0.0, place, 0)
    return tf.gather(ids, place, batch_dims=1)


def uniform_draws(seeds: tf.Tensor, positions: int) -> tf.Tensor:
    """Chance for each row of its own seed alone: float32 `[batch, positions]`, from int64 seeds `[batch]`."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform([positions], tf.stack([seed, 0])),
        seeds,
        fn_output_signature=tf.float32,
    )
