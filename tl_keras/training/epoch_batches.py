"""The batches of an epoch, in an order that only the seed and the epoch decide, from any step on."""

from __future__ import annotations

import tensorflow as tf

from tl_keras._keras import keras


class EpochBatches(keras.callbacks.Callback):
    """Feeds a model's training function with each epoch's batches, also from the middle of an epoch.

    A dataset that reshuffles draws a new order whenever it is iterated, and how often `fit` does so differs between versions of
    Keras: once or twice an epoch, and once more before the first. So an epoch's order could not be found again after a restart. Here
    epoch `e` always gets the dataset's order number `e`. `fit` is given a stand-in of the same form, by which it counts steps.

    Args:
        dataset: batches for training, as `encoder.batches(training=True)` makes them: of known number, and not yet iterated.
        class_weight: weight of each class in the loss, by its index; others weigh 1.
    """

    def __init__(self, dataset: tf.data.Dataset, class_weight: dict[int, float] | None = None):
        super().__init__()
        self._orders = Orders(weighted(dataset, class_weight) if class_weight else dataset)
        self.steps = int(dataset.cardinality())
        if self.steps <= 0:
            raise ValueError("EpochBatches needs a dataset that knows how many batches it holds.")
        self.stand_in = _stand_in(self._orders.dataset, self.steps)
        self._start = (0, 0, {})
        self._train_function = None

    def start_at(self, epoch: int, step: int, logs: dict[str, float]) -> None:
        """Resume: in `epoch`, the first `step` batches are not trained on again.

        Args:
            epoch: from 0.
            step: batches of it that are done.
            logs: the figures after the last of them.
        """
        self._start = (epoch, step, dict(logs))

    def on_epoch_begin(self, epoch, logs=None):
        """Put this epoch's batches before the training function."""
        resumed, done, figures = self._start
        done = done if epoch == resumed else 0
        iterator = self._orders.iterator(epoch, done, self.model.distribute_strategy)
        function = self._train_function = self.model.train_function
        figures = {name: tf.constant(value) for name, value in figures.items()}
        model = self.model

        def train_function(_):
            nonlocal done
            if done > 0:
                # As many steps as a call of the training function takes.
                done -= int(tf.convert_to_tensor(getattr(model, "_steps_per_execution", None) or 1))
                return figures
            return function(iterator)

        model.train_function = train_function

    def on_epoch_end(self, epoch, logs=None):
        """Give the model its own training function back."""
        self.release()

    def release(self) -> None:
        """Give the model its own training function back; also called when training ends by an error."""
        if self._train_function is not None:
            self.model.train_function = self._train_function
            self._train_function = None


class Orders:
    """The orders of a dataset that reshuffles, by number: order `n` is that of its `n`-th iterator.

    Args:
        dataset: not yet iterated.
    """

    def __init__(self, dataset: tf.data.Dataset):
        self.dataset = dataset
        self._drawn = 0
        self._shared = None

    def iterator(self, number: int, skip: int = 0, strategy: tf.distribute.Strategy | None = None):
        """An iterator over the dataset in its order `number`, behind the first `skip` batches.

        Args:
            number: from 0; at least as high as any asked for before.
            skip: batches to leave out.
            strategy: whose replicas share the batches.

        Raises:
            ValueError: an order that has gone by.
        """
        if number < self._drawn:
            raise ValueError(f"order {number} has gone by: the next is {self._drawn}.")
        while self._drawn < number:
            # The order is drawn when the iterator is made; nothing is read.
            iter(self.dataset)
            self._drawn += 1
        self._drawn += 1
        if strategy is None:
            return iter(self.dataset.skip(skip))
        if skip:
            return iter(strategy.experimental_distribute_dataset(self.dataset.skip(skip)))
        if self._shared is None:
            self._shared = strategy.experimental_distribute_dataset(self.dataset)
        return iter(self._shared)


def weighted(dataset: tf.data.Dataset, class_weight: dict[int, float]) -> tf.data.Dataset:
    """A dataset of `(inputs, labels)` with each example's weight as third part, as Keras itself would make it.

    Args:
        dataset: labels are class indices, int `[batch]`.
        class_weight: weight by class index; 1 for those that are not in it.

    Example:
        >>> batches = weighted(tf.data.Dataset.from_tensors((tf.zeros([3, 1]), [0, 2, 2])), {2: 5.0})
        >>> next(iter(batches))[2].numpy().tolist()
        [1.0, 5.0, 5.0]
    """
    size = max(class_weight) + 1
    table = tf.constant([float(class_weight.get(i, 1.0)) for i in range(size + 1)])
    return dataset.map(lambda x, y: (x, y, tf.gather(table, tf.minimum(tf.cast(y, tf.int64), size))))


def _stand_in(dataset: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    """A dataset of the same structure and number of batches, all of them zeros."""

    def nothing(spec):
        if isinstance(spec, tf.RaggedTensorSpec):
            raise ValueError("EpochBatches takes batches of plain tensors, not ragged ones.")
        return tf.zeros([2 if size is None else size for size in spec.shape], spec.dtype)

    batch = tf.nest.map_structure(nothing, dataset.element_spec)
    return tf.data.Dataset.from_tensors(batch).repeat(steps).with_options(dataset.options())
