"""Classifiers for a handful of labels a class: a head worked out on an encoder's vectors, perhaps after contrastive fine-tuning."""

from __future__ import annotations

import logging

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from tl_keras._keras import keras, register, tf_variable
from tl_keras.data.examples import Examples
from tl_keras.encoders.base import Encoder
from tl_keras.errors import UserError
from tl_keras.models.builders import text_classifier
from tl_keras.models.text_vectors import TextVectors
from tl_keras.models.transfer_model import TransferModel
from tl_keras.training.defaults import default_learning_rate
from tl_keras.training.optimizer import make_optimizer

logger = logging.getLogger(__name__)

AUTO, NEAREST_MEAN, LOGISTIC, CONTRASTIVE = "auto", "nearest-mean", "logistic", "contrastive"
METHODS = (AUTO, NEAREST_MEAN, LOGISTIC, CONTRASTIVE)

SHARPNESS = 10.0
"""Nearest mean: what cosines are multiplied by before the softmax. It changes no label, only how sure the scores look."""
REGULARISATION = 1.0
"""Logistic regression: scikit-learn's C. On vectors of length 1 a larger one gained up to 2 points on trec and lost as much on nsmc and sst2, at 8 to 64
labels a class (validation texts, five draws)."""
STEPS, BATCH_SIZE = 40, 16
"""Of contrastive fine-tuning: 40 batches of 16 texts show as many pairs as SetFit's 40 batches of 120."""


def few_shot_classifier(
    encoder: Encoder,
    examples: Examples,
    method: str = AUTO,
    *,
    pooling: str | None = None,
    steps: int = STEPS,
    learning_rate: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Build a classifier and teach it from few labelled texts; take an encoder that was made for sentences.

    Args:
        encoder: from `load_encoder`.
        examples: labelled texts, at least one of each class; see `sample_per_class`.
        method: `"nearest-mean"`: the class whose mean vector is nearest; `"logistic"`: logistic regression on vectors from which their
            common direction is taken out; `"contrastive"`: the encoder learns first to bring texts of one class together, then logistic
            regression; `"auto"`: by the number of labels, see `choose_method`.
        pooling: how a text's vector is made; by default as the encoder's makers suggest, else `"mean"`.
        steps: of contrastive fine-tuning.
        learning_rate: of contrastive fine-tuning, the peak; by default one that suits the encoder.
        seed: of contrastive fine-tuning.

    Returns:
        A trained model as `text_classifier` gives one: it predicts, goes on learning with `fit`, and is exported like any other.

    Raises:
        UserError: fewer than two classes, a class without an example, several labels a text, or no such method.

    Source: nearest mean: Snell et al., "Prototypical Networks", https://arxiv.org/abs/1703.05175; contrastive: Tunstall et al.,
        "Efficient Few-Shot Learning Without Prompts", https://arxiv.org/abs/2209.11055, whose loss is taken over all pairs within a
        batch instead of over pairs drawn beforehand: each text then runs once for all its pairs.

    Example:
        >>> few = tlk.data.sample_per_class(reviews, 8)
        >>> model = tlk.few_shot_classifier(encoder, few, "nearest-mean")
        >>> tlk.predict(model, ["A lovely evening."]).columns.tolist()
        ['text', 'label', 'score']
    """
    chosen = choose_method(examples) if method == AUTO else method
    model = few_shot_model(encoder, examples.classes or (), chosen, pooling)
    return train_few_shot(model, encoder, examples, chosen, steps=steps, learning_rate=learning_rate, seed=seed)


def choose_method(examples: Examples) -> str:
    """The method that suits the labels.

    Nearest mean for one label a class; from two on, logistic regression for two classes and contrastive fine-tuning for more. The rule is
    that of docs/few_labels.md: with ko-en-small and 8 or 64 labels a class, contrastive fine-tuning won 13 points and more on the six
    classes of trec; on the two of sst2 and nsmc it lost in the mean at 8, and won a point at most at 64.

    Example:
        >>> choose_method(Examples.from_lists(["a", "b"], ["x", "y"])), choose_method(Examples.from_lists(["a"] * 4, [0, 0, 1, 1]))
        ('nearest-mean', 'logistic')
        >>> choose_method(Examples.from_lists(["a"] * 6, [0, 0, 1, 1, 2, 2]))
        'contrastive'
    """
    check_few_shot(examples)
    if min(examples.counts().values()) < 2:
        return NEAREST_MEAN
    return LOGISTIC if len(examples.classes) == 2 else CONTRASTIVE


def check_few_shot(examples: Examples) -> None:
    """Refuse what no class can be learned from.

    Raises:
        UserError: see `few_shot_classifier`.
    """
    if examples.labels is None:
        raise UserError(f"{examples.source} has no labels to learn from.")
    if examples.multi_label:
        raise UserError(
            'few-shot learning takes one label a text; for several choose transfer="fine-tune" (--transfer).'
        )
    if len(examples.classes) < 2:
        raise UserError(
            f"{examples.source}: every example is of the class {examples.classes[0]!r}; at least two are needed."
        )
    for name, count in examples.counts().items():
        if not count:
            raise UserError(f"{examples.source} has no example of the class {name!r}; give at least one.")


def few_shot_model(encoder: Encoder, classes, method: str, pooling: str | None = None) -> keras.Model:
    """The model that `train_few_shot` teaches: encoder, centred vectors, one matrix, softmax."""
    if method not in METHODS[1:]:
        raise UserError(f"the method {method!r} is not known; choose one of: {', '.join(METHODS)}.")
    transfer = "fine-tune" if method == CONTRASTIVE else "freeze"
    pooling = pooling or encoder.suggested.get("pooling", "mean")
    return text_classifier(
        encoder,
        classes,
        transfer,
        pooling=pooling,
        dropout=0.0,
        hidden=[CentredVectors(name="centred")],
        recurrent=None,
    )


def train_few_shot(
    model: keras.Model,
    encoder: Encoder,
    examples: Examples,
    method: str,
    *,
    steps: int = STEPS,
    learning_rate: float | None = None,
    seed: int = 0,
) -> keras.Model:
    """Teach a model of `few_shot_model`; what it learned before is forgotten, but for the encoder's weights.

    Args:
        model: of `few_shot_model`, for the classes of the examples.
        encoder: that it was built on.
        examples: see `few_shot_classifier`.
        method: for which the model was built.
        steps: of contrastive fine-tuning.
        learning_rate: of contrastive fine-tuning.
        seed: of contrastive fine-tuning.

    Returns:
        The same model.
    """
    check_few_shot(examples)
    centred = model.get_layer("centred")
    body = TransferModel(model.input, centred.input, name="vectors")
    if method == CONTRASTIVE:
        width, suggested = int(body.output.shape[-1]), encoder.suggested.get("learning_rate")
        rate = learning_rate or default_learning_rate(width, True, suggested)
        bring_together(body, encoder, examples, steps, rate, seed)
    vectors = TextVectors(body, encoder).compute(examples)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    # Each class counts alike, however many examples it has.
    means = np.stack([unit[examples.labels == index].mean(0) for index in range(len(examples.classes))])
    tf_variable(centred.centre).assign(means.mean(0))
    head = nearest_mean_head if method == NEAREST_MEAN else logistic_head
    model.get_layer("logits").set_weights(list(head(centred(tf.constant(unit)).numpy(), examples.labels)))
    return model


def nearest_mean_head(vectors: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel float32 `[width, classes]` and bias `[classes]` whose logits are the cosines to the class means, times `SHARPNESS`.

    Args:
        vectors: float32 `[n, width]`, of length 1.
        labels: int `[n]`, each class at least once.
    """
    means = np.stack([vectors[labels == index].mean(0) for index in range(labels.max() + 1)])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return (SHARPNESS * means.T).astype("float32"), np.zeros(len(means), "float32")


def logistic_head(vectors: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel float32 `[width, classes]` and bias `[classes]` of a logistic regression in which each class counts alike.

    Args:
        vectors: float32 `[n, width]`.
        labels: int `[n]`, each class at least once.
    """
    fitted = LogisticRegression(C=REGULARISATION, max_iter=2000, class_weight="balanced").fit(vectors, labels)
    kernel, bias = fitted.coef_.T, fitted.intercept_
    if kernel.shape[1] == 1:
        # scikit-learn gives two classes one logit.
        kernel, bias = np.concatenate([-kernel, kernel], 1) / 2, np.concatenate([-bias, bias]) / 2
    return kernel.astype("float32"), bias.astype("float32")


def bring_together(
    body: keras.Model, encoder: Encoder, examples: Examples, steps: int, learning_rate: float, seed: int
) -> None:
    """Contrastive fine-tuning: vectors of one class together, those of different classes apart.

    Args:
        body: from the encoder's inputs to a vector.
        encoder: makes the batches.
        examples: labelled texts. Only those that meet in a batch are compared, so the number of pairs never matters.
        steps: batches of up to `BATCH_SIZE` texts.
        learning_rate: the peak.
        seed: of the shuffling.
    """
    keras.utils.set_random_seed(seed)
    body.compile(optimizer=make_optimizer(learning_rate), loss=SameClassCosine(), jit_compile=False)
    # Many small epochs, so that a text meets others each time.
    batches = encoder.batches(examples, training=True, batch_size=BATCH_SIZE, seed=seed)
    epochs = max(round(steps / int(batches.cardinality())), 1)
    body.fit(batches, epochs=epochs, verbose=0)


@register
class CentredVectors(keras.layers.Layer):
    """Vectors of length 1, a centre taken out of them, and of length 1 again: what all texts have in common says nothing of a class."""

    def build(self, input_shape):
        """Make the centre, all zeros: vectors then keep their direction."""
        self.centre = self.add_weight(
            shape=(int(input_shape[-1]),), initializer="zeros", trainable=False, name="centre", dtype="float32"
        )
        super().build(input_shape)

    def call(self, vectors):
        """Float `[batch, width]` to float32 `[batch, width]`."""
        unit = tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1)
        return tf.math.l2_normalize(unit - tf.convert_to_tensor(self.centre), axis=-1)

    def compute_output_shape(self, input_shape):
        """The same shape."""
        return tuple(input_shape)


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
