"""What models that compare texts learn from: losses on cosines and on scores in a range."""

from __future__ import annotations

import tensorflow as tf

from tl_keras._keras import keras, register
from tl_keras.data.pairs import check_range
from tl_keras.errors import UserError
from tl_keras.training.step import first_row_of, gather_replicas


@register
class CosineRegression(keras.losses.Loss):
    """`(cos(u, v) - (s - low) / (high - low))^2`: the cosine of two vectors should be their score, moved to 0..1.

    Inputs -> labels: cosines `[batch]` of `bi_encoder` -> scores `[batch]` from `low` to `high`.
    Wants finely graded pairs (0 to 5, say), unrelated ones among them. With only right pairs take `InBatchNegatives`.

    Args:
        low: the lowest score there can be; such pairs are pushed towards a right angle.
        high: the highest; such pairs are pulled together.

    Source: Reimers and Gurevych, "Sentence-BERT", https://arxiv.org/abs/1908.10084, section 3, "Regression Objective Function".

    Example:
        >>> float(CosineRegression(0, 5)([5.0, 0.0], [0.5, 0.0]))
        0.125
    """

    def __init__(self, low: float = 0.0, high: float = 1.0, name: str = "cosine_regression", **kwargs):
        super().__init__(name=name, **kwargs)
        self.low, self.high = check_range((low, high))

    def call(self, y_true, y_pred):
        """Squared differences, `[batch]`."""
        wanted = (_flat(y_true) - self.low) / (self.high - self.low)
        return tf.square(_flat(y_pred) - wanted)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "low": self.low, "high": self.high}


@register
class CosineRanking(keras.losses.Loss):
    """`log(1 + sum exp(k (c_j - c_i)))` over all pairs `i`, `j` of the batch with `s_i > s_j`: the right order of the cosines.

    Also called CoSENT. Unlike `CosineRegression` it asks no cosine to have a certain value, so that all of the training goes into
    what Spearman measures; the cosines themselves then say less.
    Inputs -> labels: cosines `[batch]` of `bi_encoder` -> scores `[batch]` in any unit.
    Wants finely graded pairs, and batches of some tens.

    Args:
        scale: `k`; the larger, the less a pair counts that is already in the right order.

    Source: Su, "CoSENT", https://kexue.fm/archives/8847

    Example:
        >>> import math
        >>> loss = CosineRanking(scale=1.0)([5.0, 1.0], [0.25, 0.75])
        >>> abs(float(loss) - math.log(1 + math.exp(0.5))) < 1e-6
        True
    """

    def __init__(self, scale: float = 20.0, name: str = "cosine_ranking", **kwargs):
        super().__init__(name=name, **kwargs)
        if not scale > 0:
            raise UserError(f"the scale must be above 0, not {scale}.")
        self.scale = float(scale)

    def call(self, y_true, y_pred):
        """The loss of the batch, for each of its pairs: `[batch]`."""
        scores, cosines = gather_replicas(_flat(y_true)), gather_replicas(_flat(y_pred))
        above = scores[:, tf.newaxis] > scores[tf.newaxis, :]
        differences = self.scale * (cosines[tf.newaxis, :] - cosines[:, tf.newaxis])
        terms = tf.where(above, differences, tf.constant(-1e9, tf.float32))
        # The 1 of the formula is e^0.
        loss = tf.reduce_logsumexp(tf.concat([[0.0], tf.reshape(terms, [-1])], axis=0))
        return tf.fill(tf.shape(_flat(y_pred)), loss)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "scale": self.scale}


@register
class InBatchNegatives(keras.losses.Loss):
    """`-log(exp(k c_ii) / sum_j exp(k c_ij))`: a query should be nearer to its document than to all others of the batch.

    Also called multiple negatives ranking, or InfoNCE. `c_ij` is the cosine of query `i` and document `j`, `k` the scale.
    Inputs -> labels: cosines `[batch, batch]` of `bi_encoder` -> the documents' numbers `[batch]`. Queries of one batch that share
    a document are no negatives for one another: such a `c_ij` is left out of the sum.
    Wants right pairs only, and large batches: 32 to 128 documents to choose from.

    Args:
        scale: `k`; 20 lets a cosine that is higher by 0.1 count `e^2` = 7.4 times as much.

    Source: Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply", https://arxiv.org/abs/1705.00652,
        section 4.4; the scaled cosine as in van den Oord et al., https://arxiv.org/abs/1807.03748.

    Example:
        >>> import math
        >>> loss = InBatchNegatives(scale=1.0)([0, 1], [[1.0, 0.0], [0.0, 1.0]])
        >>> abs(float(loss) - math.log(1 + math.exp(-1))) < 1e-6
        True
    """

    def __init__(self, scale: float = 20.0, name: str = "in_batch_negatives", **kwargs):
        super().__init__(name=name, **kwargs)
        if not scale > 0:
            raise UserError(f"the scale must be above 0, not {scale}.")
        self.scale = float(scale)

    def call(self, y_true, y_pred):
        """Cross-entropies in nats, `[batch]`."""
        wanted = _flat(y_true)
        # With several replicas, a row for each query of this one and a column for each document of all.
        documents = gather_replicas(wanted)
        logits = self.scale * tf.cast(y_pred, tf.float32)
        own = tf.range(tf.size(wanted)) + first_row_of(wanted)
        right = tf.one_hot(own, tf.size(documents), on_value=True, off_value=False)
        shared = tf.equal(wanted[:, tf.newaxis], documents[tf.newaxis, :]) & ~right
        logits = tf.where(shared, tf.constant(-1e9, tf.float32), logits)
        return tf.reduce_logsumexp(logits, axis=1) - tf.gather(logits, own, batch_dims=1)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "scale": self.scale}


@register
class Contrastive(keras.losses.Loss):
    """`(y d^2 + (1 - y) max(0, m - d)^2) / 2` with `d = 1 - cos(u, v)`: like pairs together, others at least `m` apart.

    Inputs -> labels: cosines `[batch]` of `bi_encoder` -> `high` (alike, `y = 1`) or `low` (not, `y = 0`) `[batch]`.
    Wants pairs of both kinds, among them unlike pairs that look alike; those further apart than the margin teach nothing.

    Args:
        margin: `m`, a cosine distance from 0 to 2.
        low: the label of unlike pairs.
        high: the label of like pairs. What lies between counts in part.

    Source: Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006, equation 4
        (there `Y` is 0 for like pairs, and the distance is Euclidean).

    Example:
        >>> loss = Contrastive(margin=0.5)([1.0, 0.0], [0.5, 0.75])  # d = 0.5 and 0.25
        >>> float(loss) == (0.5 * 0.5**2 + 0.5 * 0.25**2) / 2
        True
    """

    def __init__(self, margin: float = 0.5, low: float = 0.0, high: float = 1.0, name: str = "contrastive", **kwargs):
        super().__init__(name=name, **kwargs)
        self.low, self.high = check_range((low, high))
        if not 0 < margin <= 2:
            raise UserError(f"the margin is a cosine distance above 0 and at most 2, not {margin}.")
        self.margin = float(margin)

    def call(self, y_true, y_pred):
        """Losses, `[batch]`."""
        alike, distance = (_flat(y_true) - self.low) / (self.high - self.low), 1.0 - _flat(y_pred)
        apart = tf.maximum(self.margin - distance, 0.0)
        return 0.5 * (alike * tf.square(distance) + (1.0 - alike) * tf.square(apart))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "margin": self.margin, "low": self.low, "high": self.high}


@register
class ScoreCrossEntropy(keras.losses.Loss):
    """`-(t log p + (1 - t) log(1 - p))`, where `t` and `p` are the true and the predicted score, moved to 0..1.

    Inputs -> labels: scores `[batch]` of `text_regressor` -> scores `[batch]` from `low` to `high`.
    Its least value is at `p = t`, as for the squared error, but its slope does not vanish where the sigmoid is flat: a model
    that starts out sure and wrong can still learn.

    Args:
        low: the lowest score there can be.
        high: the highest.

    Source: Goodfellow, Bengio and Courville, "Deep Learning", https://www.deeplearningbook.org, section 6.2.2.2 (sigmoid units),
        with a target between 0 and 1 in place of 0 or 1.

    Example:
        >>> import math
        >>> abs(float(ScoreCrossEntropy(0, 4)([4.0], [1.0])) + math.log(0.25)) < 1e-6
        True
    """

    def __init__(self, low: float = 0.0, high: float = 1.0, name: str = "score_cross_entropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.low, self.high = check_range((low, high))

    def call(self, y_true, y_pred):
        """Cross-entropies in nats, `[batch]`."""
        width = self.high - self.low
        wanted = (_flat(y_true) - self.low) / width
        given = tf.clip_by_value((_flat(y_pred) - self.low) / width, 1e-6, 1.0 - 1e-6)
        return -(wanted * tf.math.log(given) + (1.0 - wanted) * tf.math.log(1.0 - given))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "low": self.low, "high": self.high}


@register
class SameClassCosine(keras.losses.Loss):
    """Squared distance of the cosine from 1 for pairs of one class, from 0 for others; both kinds of pairs count alike.

    Inputs -> labels: vectors of a batch -> their classes.

    Source: the cosine similarity loss of https://arxiv.org/abs/2209.11055, section 3, over all pairs of a batch.
    """

    def __init__(self, name: str = "same_class_cosine", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        """Labels `[batch]` and vectors float `[batch, width]` to float32 `[batch]`."""
        labels = tf.reshape(y_true, [-1])
        unit = tf.math.l2_normalize(tf.cast(y_pred, tf.float32), axis=-1)
        cosines = tf.matmul(unit, unit, transpose_b=True)
        same = labels[:, tf.newaxis] == labels[tf.newaxis]
        others = ~tf.eye(tf.shape(labels)[0], dtype=tf.bool)
        errors = tf.square(cosines - tf.cast(same, tf.float32))

        def mean(pairs):
            weights = tf.cast(pairs, tf.float32)
            return tf.math.divide_no_nan(tf.reduce_sum(errors * weights, -1), tf.reduce_sum(weights, -1))

        return 0.5 * (mean(same & others) + mean(~same))


def _flat(values) -> tf.Tensor:
    # Keras 2 makes labels [batch, 1] where the predictions have two axes.
    return tf.reshape(tf.cast(values, tf.float32), [-1])
