"""The functional model that builders return: `fit` tells the learning-rate schedule how long training will be."""

from __future__ import annotations

import inspect
import math

import tensorflow as tf

from tl_keras._keras import IS_KERAS_3, WAY_TO_KERAS_2, find_layer, keras, register
from tl_keras.encoders.encoder_layer import find_encoder_layer
from tl_keras.errors import UserError
from tl_keras.models.heads import ClassProbabilities, TagProbabilities
from tl_keras.models.pair_heads import ScoreInRange
from tl_keras.models.string_input import one_batch, take_texts
from tl_keras.models.text_labels import class_weights_of, known_labels
from tl_keras.models.transfer_control import GradualUnfreezing, prepare
from tl_keras.text.batch_labels import BatchLabels, align
from tl_keras.training.memory import keep_freed_memory
from tl_keras.training.step import WarmupLinearDecay


@register
class TransferModel(keras.Model):
    """An ordinary functional `keras.Model`, with some additions.

    `fit`, `evaluate` and `predict` also take texts as they are: lists, arrays or Series of strings, pairs as tuples, examples of a reader,
    a `tf.data.Dataset` of strings; with names of classes as labels. Batches of token ids are made behind it, those for training shuffled
    and of like length. See `tl_keras.models.string_input`.

    A warm-up and decay needs the number of steps, and only `fit` knows it. So `fit` plans the schedule, if the optimizer has ours,
    and then does what it always does. Compile with another optimizer or schedule and nothing is added at all.

    Under `transfer="gradual"`, `fit` also adds the callback that unfreezes one block after the other.

    Batches that this package made tell what their labels stand for. `fit` and `evaluate` look each label up by its name among those
    of the model, whatever order the file had them in, and refuse one that the model lacks. Behind a `map` of your own nothing is told,
    and the numbers count as they are.
    """

    def fit(self, *args, **kwargs):
        """Train; see `keras.Model.fit`.

        Raises:
            UserError: the batches have labels that the model lacks, or of another kind; or Keras 3 is to train a model that reads strings
                on several devices.
        """
        _refuse_strings_on_replicas(self)
        call = inspect.signature(keras.Model.fit).bind(self, *args, **kwargs)
        call.apply_defaults()
        take_texts(self, call.arguments, training=True)
        x = call.arguments["x"]
        if isinstance(x, tf.data.Dataset) and not isinstance(x.element_spec, tuple) and self.loss is not None:
            raise UserError("the batches have no labels to learn from: make them of labelled examples.")
        for name in ("x", "validation_data"):
            call.arguments[name] = self.align_batches(call.arguments[name])
        call.arguments["class_weight"] = self.align_class_weight(call.arguments["class_weight"])
        schedule, steps = _schedule(getattr(self, "optimizer", None)), _steps_per_epoch(call.arguments)
        if schedule is not None and steps:
            epochs = call.arguments["epochs"] - call.arguments["initial_epoch"]
            schedule.plan(int(self.optimizer.iterations.numpy()), steps * max(epochs, 0))
        if isinstance(call.arguments["x"], tf.data.Dataset):
            # A dataset shuffles itself; Keras 3 warns about its own default otherwise.
            call.arguments["shuffle"] = False
        prepare(self)
        keep_freed_memory()
        layer = find_encoder_layer(self)
        if layer is not None and layer.transfer.mode == "gradual":
            # First among them, so that a block that is unfrozen learns from this very step on.
            call.arguments["callbacks"] = _with_first(GradualUnfreezing(), call.arguments["callbacks"], self)
        if IS_KERAS_3 and self.compiled and self._distribute_strategy is None:
            self._make_variables(call.arguments["x"])
        with known_labels(self):
            return super().fit(**_keywords(call))

    def evaluate(self, *args, **kwargs):
        """Score; see `keras.Model.evaluate`.

        Raises:
            UserError: there are labels that the model lacks, or of another kind.
        """
        call = inspect.signature(keras.Model.evaluate).bind(self, *args, **kwargs)
        call.apply_defaults()
        take_texts(self, call.arguments, training=False)
        call.arguments["x"] = self.align_batches(call.arguments["x"])
        with known_labels(self):
            return super().evaluate(**_keywords(call))

    def predict(self, *args, **kwargs):
        """Compute the outputs, in the order of the texts; see `keras.Model.predict`."""
        call = inspect.signature(keras.Model.predict).bind(self, *args, **kwargs)
        call.apply_defaults()
        take_texts(self, call.arguments, training=False)
        return super().predict(**_keywords(call))

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, **kwargs):
        """Take one step; see `keras.Model.train_on_batch`."""
        batch = one_batch(self, x, y, sample_weight, class_weight)
        if batch is not None:
            (x, y, sample_weight), class_weight = batch, None
        with known_labels(self):
            return super().train_on_batch(x, y, sample_weight, class_weight, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Score one batch; see `keras.Model.test_on_batch`."""
        with known_labels(self):
            return super().test_on_batch(*(one_batch(self, x, y, sample_weight) or (x, y, sample_weight)), **kwargs)

    def predict_on_batch(self, x):
        """Compute the outputs of one batch; see `keras.Model.predict_on_batch`."""
        batch = one_batch(self, x)
        return super().predict_on_batch(x if batch is None else batch[0])

    def __call__(self, inputs, *args, **kwargs):
        """Compute symbolic or eager outputs of batches; texts go through `predict`.

        Raises:
            UserError: the inputs are strings, and the model takes token ids.
        """
        if (
            isinstance(inputs, (str, list, tuple))
            and len(inputs)
            and isinstance(inputs[0], str)
            and not reads_strings(self)
        ):
            raise UserError(
                "called like a layer, this model takes token ids, not strings: call model.predict(texts), or model(batch) with batches "
                "from encoder.batches(texts)."
            )
        return super().__call__(inputs, *args, **kwargs)

    def align_batches(self, batches):
        """Batches with their labels numbered as the model's outputs are; see `tl_keras.text.batch_labels.align`."""
        return align(batches, _labels_of_model(self))

    def align_class_weight(self, class_weight):
        """Weights of classes by the numbers that the model's outputs have; see `class_weights_of`."""
        head = find_layer(self, ClassProbabilities)
        if class_weight is None or head is None or head.multi_label:
            return class_weight
        return dict(enumerate(class_weights_of(head, class_weight).tolist()))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras 3, under a strategy: make what a first batch tells, from that of one replica.

        Keras's own takes the mean of the replicas' shares of it, which fails where they differ in size (keras-team/keras#19246).
        """
        if iterator is None or self._distribute_strategy is None:
            return super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
        local = self.distribute_strategy.experimental_local_results
        *_, batches = next(iter(iterator))
        data_batch = tf.nest.map_structure(lambda value: local(value)[0], next(batches))
        return super()._maybe_symbolic_build(data_batch=data_batch)

    def _make_variables(self, batches) -> None:
        """Keras 3: make the variables of optimizer and metrics before the first step is traced.

        Without a strategy Keras leaves that to the tracing of the step, and TensorFlow then traces it twice: a graph that makes variables
        serves once only.

        Args:
            batches: `x` of `fit`; only a dataset tells the shape of the labels, by which "accuracy" becomes one of several metrics.
        """
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        metrics = self._compile_metrics
        spec = getattr(batches, "element_spec", None)
        if metrics is None or metrics.built or len(self.outputs) != 1 or not isinstance(spec, tuple) or len(spec) < 2:
            return
        if isinstance(spec[1], tf.TensorSpec) and spec[1].shape.rank is not None:
            metrics.build(keras.KerasTensor(tuple(spec[1].shape), spec[1].dtype.name), self.outputs[0])

    def make_train_function(self, force=False):
        """Make what `fit` and `train_on_batch` run; see `keras.Model`."""
        prepare(self)
        return super().make_train_function(force)


def _labels_of_model(model: keras.Model) -> BatchLabels | None:
    """What the model's outputs stand for; None where its head is none of those that have names."""
    for layer in model.layers:
        if isinstance(layer, ClassProbabilities):
            return BatchLabels("classes" if layer.multi_label else "class", tuple(layer.classes))
        if isinstance(layer, TagProbabilities):
            return BatchLabels("tags", layer.tag_set.tags, tokens=layer.tokens)
        if isinstance(layer, ScoreInRange):
            return BatchLabels("score")
    return None


def _keywords(call: inspect.BoundArguments) -> dict:
    """The arguments of a call by name, without `self` and what a collecting `**kwargs` holds beside."""
    named = {name: value for name, value in call.arguments.items() if name not in ("self", "kwargs")}
    return {**named, **call.arguments.get("kwargs", {})}


def reads_strings(model: keras.Model) -> bool:
    """Whether a model takes texts as they are, as those on text embedding modules and on ELMo do."""
    return any(tf.as_dtype(tensor.dtype) == tf.string for tensor in model.inputs)


def _refuse_strings_on_replicas(model: keras.Model) -> None:
    """Keras 3 takes the mean of the replicas' first batches to build a model, which strings do not have: TensorFlow's error says no more."""
    if IS_KERAS_3 and reads_strings(model) and model.distribute_strategy.num_replicas_in_sync > 1:
        raise UserError(
            "Keras 3 cannot train a model that reads strings (a text embedding module, ELMo) on several devices. Take one device, or "
            + WAY_TO_KERAS_2
        )


def _with_first(callback: keras.callbacks.Callback, others, model: keras.Model):
    """The callbacks of a call of `fit`, in whichever form they were given, and one more."""
    if isinstance(others, keras.callbacks.CallbackList):
        callback.set_model(model)
        others.append(callback)
        return others
    return [callback, *tf.nest.flatten(others if others is not None else [])]


def _schedule(optimizer) -> WarmupLinearDecay | None:
    # Keras 2 keeps the schedule under `_learning_rate` and returns its current value as `learning_rate`; so does Keras 3.
    schedule = getattr(optimizer, "_learning_rate", None)
    return schedule if isinstance(schedule, WarmupLinearDecay) else None


def _steps_per_epoch(arguments: dict) -> int | None:
    if arguments["steps_per_epoch"]:
        return int(arguments["steps_per_epoch"])
    x = arguments["x"]
    if isinstance(x, tf.data.Dataset):
        steps = int(x.cardinality())
        return steps if steps > 0 else None
    leaves = tf.nest.flatten(x)
    if leaves and hasattr(leaves[0], "shape") and len(leaves[0].shape):
        fraction = 1.0 - (arguments["validation_split"] or 0.0)
        return math.ceil(int(leaves[0].shape[0]) * fraction / (arguments["batch_size"] or 32))
    return None
