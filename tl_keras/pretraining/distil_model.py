"""Teacher and student, and one step of the student towards the teacher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import EncoderWeights
from tl_keras.encoders.pair_encoder import Network
from tl_keras.pretraining.distil_batches import DistilBatch, MaskedWordsHead
from tl_keras.pretraining.loop import make_optimizer

EMBEDDINGS = ("word_embeddings/", "position_embedding/", "type_embeddings/")
_BLOCK = "transformer/layer_"


@dataclass(frozen=True)
class LossWeights:
    """How much each part of the loss counts.

    All three squared distances are fractions of the teacher's own variance: 1 is what a student that always gives the mean
    would reach, 0 is the teacher.

    Attributes:
        token: distance of the last block's outputs, over all tokens.
        middle: the same of the blocks before it, each to the teacher's block that it began as.
        text: distance of the texts' mean vectors.
        likeness: Kullback-Leibler divergence between the softmaxes of the cosines in the batch.
        words: cross-entropy of the masked words, in nats, where words are masked.
        temperature: of those softmaxes.
    """

    token: float = 1.0
    middle: float = 1.0
    text: float = 2.0
    likeness: float = 0.5
    words: float = 0.1
    temperature: float = 0.05


def keep_blocks(weights: EncoderWeights, layers: Sequence[int]) -> EncoderWeights:
    """A network of some of the blocks of another, in their order.

    Args:
        weights: the larger one.
        layers: numbers of its blocks, from 0, increasing.
    """
    arrays = {name: array for name, array in weights.arrays.items() if not name.startswith(_BLOCK)}
    blocks = {}
    for new, old in enumerate(layers):
        prefix = f"{_BLOCK}{old}/"
        blocks |= {
            f"{_BLOCK}{new}/{name.removeprefix(prefix)}": array
            for name, array in weights.arrays.items()
            if name.startswith(prefix)
        }
    pooler = {name: arrays.pop(name) for name in list(arrays) if name.startswith("pooler_transform")}
    return replace(weights, arrays={**arrays, **blocks, **pooler}, num_layers=len(layers))


class Distiller:
    """A teacher that stays as it is, and a student that began as some of its blocks.

    Args:
        teacher: the teacher's weights.
        student: the student's.
        layers: the teacher's blocks that the student's blocks began as.
        loss: how much each part of the loss counts.
        learn_embeddings: whether the student's embeddings learn as well.
        weight_decay: of AdamW.
        head: learns to say which words were masked; none where no words are.

    Attributes:
        variables: what learns in the student, and is kept in checkpoints.
        optimizer: Keras's AdamW.
    """

    measures = ("loss", "token_loss", "middle_loss", "text_loss", "likeness_loss")
    word_measures = ("words_loss", "words_accuracy")

    def __init__(
        self,
        teacher: EncoderWeights,
        student: EncoderWeights,
        layers: Sequence[int],
        loss: LossWeights,
        learn_embeddings: bool = False,
        weight_decay: float = 0.01,
        head: MaskedWordsHead | None = None,
    ):
        self.head = head
        self.loss, self.layers = loss, tuple(layers)
        self._teacher, self._student = Network(teacher), Network(student)
        self._weights = student
        names = [name for name in student.arrays if not name.startswith("pooler_transform")]
        if not learn_embeddings:
            names = [name for name in names if not name.startswith(EMBEDDINGS)]
        self.variables = [self._student.arrays[name] for name in names] + (head.variables if head else [])
        self.optimizer = make_optimizer(weight_decay)
        self.optimizer.build(self.variables)
        spec = tf.TensorSpec([None, None], tf.int32)
        # Of the outputs of the teacher's blocks, and of its texts' vectors.
        self._variances = tf.Variable(tf.ones(len(self.layers) + 1), trainable=False)
        self._step = tf.function(self._train, input_signature=[spec] * 3, autograph=False)
        self._measure = tf.function(self._losses, input_signature=[spec] * 3, autograph=False)

    def measure_variances(self, batches: Iterable[DistilBatch]) -> None:
        """Take the teacher's variances, by which the losses are divided, from some batches.

        A batch's own would not do: one of few texts, or of one, has too little of it.
        """
        outputs: list[list[np.ndarray]] = [[] for _ in range(len(self.layers) + 1)]
        for batch in batches:
            blocks, text = self._teach(batch.token_ids, batch.padding_mask)
            for kept, block in zip(outputs, blocks, strict=False):
                kept.append(block.numpy()[batch.padding_mask > 0])
            outputs[-1].append(text.numpy())
        self._variances.assign([np.concatenate(rows).var(axis=0).sum() for rows in outputs])

    def train_on_batch(self, batch, rate: float) -> dict[str, float]:
        """Take one step; gives the losses before it."""
        self.optimizer.learning_rate = rate
        return self._floats(self._step(batch.token_ids, batch.masked_ids, batch.padding_mask))

    def test_on_batch(self, batch) -> dict[str, float]:
        """The losses."""
        return self._floats(self._measure(batch.token_ids, batch.masked_ids, batch.padding_mask))

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """What learns."""
        return self.variables

    def student_weights(self) -> EncoderWeights:
        """The student as it is now."""
        arrays = {name: np.asarray(variable) for name, variable in self._student.arrays.items()}
        return replace(self._weights, arrays=arrays)

    @staticmethod
    def _floats(losses: dict) -> dict[str, float]:
        return {name: float(value) for name, value in losses.items()}

    def _train(self, token_ids, masked_ids, mask):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            losses = self._losses(token_ids, masked_ids, mask)
        gradients = tape.gradient(losses["loss"], self.variables)
        self.optimizer.apply(gradients, self.variables)
        return losses

    def _teach(self, token_ids, mask):
        """The outputs of the teacher's chosen blocks, and its texts' vectors."""
        feed = {"input_word_ids": token_ids, "input_mask": mask, "input_type_ids": tf.zeros_like(token_ids)}
        outputs = self._teacher.forward(feed)["encoder_outputs"]
        blocks = [tf.stop_gradient(outputs[layer]) for layer in self.layers]
        return blocks, mean_of_tokens(blocks[-1], mask)

    def _losses(self, token_ids, masked_ids, mask):
        wanted, wanted_text = self._teach(token_ids, mask)
        feed = {"input_word_ids": masked_ids, "input_mask": mask, "input_type_ids": tf.zeros_like(token_ids)}
        given = self._student.forward(feed)["encoder_outputs"]
        given_text = mean_of_tokens(given[-1], mask)
        weight = tf.cast(mask, tf.float32)
        blocks = [
            squared_distance(student, teacher, weight) / self._variances[index]
            for index, (student, teacher) in enumerate(zip(given, wanted, strict=True))
        ]
        parts = {
            "token_loss": blocks[-1],
            "middle_loss": tf.add_n(blocks[:-1]) / len(blocks[:-1]) if blocks[:-1] else tf.zeros([]),
            "text_loss": squared_distance(given_text, wanted_text, tf.ones_like(weight[:, 0])) / self._variances[-1],
            "likeness_loss": likeness(given_text, wanted_text, self.loss.temperature),
        }
        accuracy = {}
        if self.head:
            chosen = tf.not_equal(token_ids, masked_ids)
            outputs, words = tf.boolean_mask(given[-1], chosen), tf.boolean_mask(token_ids, chosen)
            parts["words_loss"], accuracy["words_accuracy"] = self.head.losses(self._student, outputs, words)
        total = tf.add_n([getattr(self.loss, name.removesuffix("_loss")) * part for name, part in parts.items()])
        return {"loss": total, **parts, **accuracy}


def mean_of_tokens(outputs: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """A text's vector: float32 `[texts, width]` of `[texts, length, width]`, padding left out."""
    weight = tf.cast(mask, outputs.dtype)[:, :, tf.newaxis]
    return tf.reduce_sum(outputs * weight, axis=1) / tf.reduce_sum(weight, axis=1)


def squared_distance(given: tf.Tensor, wanted: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """The weighted mean of squared Euclidean distances.

    Args:
        given: float32 `[..., width]`.
        wanted: the same.
        weight: float32 `[...]`.

    Returns:
        A scalar.
    """
    distance = tf.reduce_sum(tf.math.squared_difference(given, wanted), axis=-1)
    return tf.reduce_sum(distance * weight) / tf.reduce_sum(weight)


def likeness(given: tf.Tensor, wanted: tf.Tensor, temperature: float) -> tf.Tensor:
    """How differently the two see which texts of the batch are alike.

    Args:
        given: float32 `[texts, width]`.
        wanted: the same.
        temperature: cosines are divided by it before the softmax; a text's cosine to itself is left out.

    Returns:
        A scalar, the mean Kullback-Leibler divergence of a text's softmax.
    """
    logits = []
    for vectors in (given, wanted):
        unit = tf.math.l2_normalize(vectors, axis=-1)
        cosines = tf.matmul(unit, unit, transpose_b=True) / temperature
        logits.append(tf.linalg.set_diag(cosines, tf.fill([tf.shape(cosines)[0]], -1e9)))
    student, teacher = (tf.nn.log_softmax(rows) for rows in logits)
    divergence = tf.reduce_sum(tf.exp(teacher) * (teacher - student), axis=-1)
    # A text alone in its batch has nobody to be like.
    return tf.where(tf.shape(given)[0] > 1, tf.reduce_mean(divergence), 0.0)
