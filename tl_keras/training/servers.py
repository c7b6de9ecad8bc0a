"""`model.fit` under a parameter server: workers step at their own pace, and the chief validates."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.models.transfer_control import find_encoder_layer
from tl_keras.training.cluster import refuse_under_servers
from tl_keras.training.epoch_batches import weighted


def fit_by_servers(
    model: keras.Model,
    x: tf.data.Dataset,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
    class_weight: dict[int, float] | None = None,
    *,
    checkpoints: bool = False,
    validation_data: tf.data.Dataset | None = None,
    **arguments,
) -> keras.callbacks.History:
    """`model.fit` where each worker goes through batches shuffled by itself: nothing is the same twice.

    Args:
        model: compiled.
        x: batches for training, of known number.
        epochs: an epoch is as many steps of all workers together as there are batches.
        callbacks: of `fit`.
        class_weight: of `fit`.
        checkpoints: whether the training is to go on where it was interrupted; refused.
        validation_data: of `fit`; each row counts once.
        **arguments: of `fit`.

    Raises:
        UserError: steps are to be repeated, or parts to be unfrozen at one of them.
    """
    layer = find_encoder_layer(model)
    refuse_under_servers(checkpoints, layer is not None and layer.transfer.mode == "gradual")
    steps = int(x.cardinality())
    batches = weighted(x, class_weight) if class_weight else x
    first = [] if validation_data is None else [ChiefValidation(validation_data)]
    return model.fit(
        from_anywhere(batches, steps),
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[*first, *callbacks],
        **arguments,
    )


class ChiefValidation(keras.callbacks.Callback):
    """Adds `val_loss` and its like to each epoch's logs, where the callbacks behind this one find them.

    Keras itself has the workers validate, each on its own copy of the data, until there have been as many batches as there are: some
    count twice and some not at all. The chief alone goes through all of them, with the servers' weights.

    Args:
        batches: of `(inputs, labels)`, perhaps with weights.
    """

    def __init__(self, batches: tf.data.Dataset):
        super().__init__()
        self._batches = batches

    def on_train_begin(self, logs=None):
        """Make the function that validates on a batch; it is traced once for all epochs."""
        self._step = tf.function(self.model.test_step, reduce_retracing=True)

    def on_epoch_end(self, epoch, logs=None):
        """Validate."""
        self.model.reset_metrics()
        for batch in self._batches:
            figures = self._step(batch)
        logs.update({f"val_{name}": float(value) for name, value in figures.items()})


def from_anywhere(dataset: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    """The dataset again and again, from another place whenever it is iterated.

    Workers that do not share batches each have a copy, shuffled alike. If they began alike, each would learn what another has just learned.

    Args:
        dataset: of `steps` elements.
        steps: how many of them may be left out at first.

    Example:
        >>> numbers = next(iter(from_anywhere(tf.data.Dataset.range(3), 3).batch(6))).numpy()
        >>> sorted(numbers.tolist()), ((numbers[1:] - numbers[:-1]) % 3).tolist()
        ([0, 0, 1, 1, 2, 2], [1, 1, 1, 1, 1])
    """
    # Of no seed, also where the program has one: that would be the same for all workers.
    ends = {"minval": tf.constant(0, tf.int64), "maxval": tf.constant(steps, tf.int64)}
    return tf.data.Dataset.from_tensors(0).flat_map(
        lambda _: dataset.repeat().skip(
            tf.raw_ops.RandomUniformInt(shape=tf.constant([], tf.int32), seed=0, seed2=0, **ends)
        )
    )
