"""How a model is told what learns: its optimizer's groups, and changing one's mind after building."""

from __future__ import annotations

import dataclasses
import logging
import math

import tensorflow as tf

from tl_keras._keras import keras
from tl_keras.encoders.blocks import HEAD
from tl_keras.encoders.encoder_layer import encoder_layer_of, find_encoder_layer, require_model
from tl_keras.encoders.load import encoder_of
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError
from tl_keras.options import default_learning_rate
from tl_keras.training.optimizer import AdamW
from tl_keras.training.step import WarmupLinearDecay

logger = logging.getLogger(__name__)

HEAD_MULTIPLIER = 20.0
"""See `let_head_learn_faster`."""


def set_transfer(model: keras.Model, transfer: str | Transfer, learning_rate: float | None = None) -> keras.Model:
    """Change what learns in a model that is built already, and compile it anew with the same loss and metrics.

    The weights stay; the optimizer starts afresh.

    Args:
        model: of any builder of this package, or one that holds its encoder.
        transfer: `"freeze"`, `"fine-tune"`, `"top-1"`, `"top-2"`, ..., `"gradual"`, or a `Transfer` with settings.
        learning_rate: the peak rate. By default it stays as it is; if the encoder was frozen and now learns, or the reverse, one that
            suits the encoder is taken.

    Returns:
        The same model.

    Raises:
        UserError: the encoder's blocks do not allow it, or there is no encoder in the model.
    """
    layer = encoder_layer_of(model, inside=True)
    changed = layer.transfer.trains_encoder != Transfer.of(transfer).trains_encoder
    layer.transfer = transfer
    if getattr(model, "optimizer", None) is None:
        return model
    if learning_rate is None and changed:
        width = tf.nest.flatten(layer.output)[0].shape[-1]
        suggested = encoder_of(model).suggested.get("learning_rate")
        learning_rate = default_learning_rate(width, layer.transfer.trains_encoder, suggested)
    settings = dict(model._compile_config.config)
    with model.distribute_strategy.scope():
        settings["optimizer"] = _fresh(optimizer_of(model), learning_rate)
        model.compile(**settings)
    return prepare(model)


def prepare(model: keras.Model) -> keras.Model:
    """Tell a compiled model's optimizer which variables learn at which rate, if the encoder's `transfer` asks for that.

    Args:
        model: any Keras model.

    Returns:
        The same model.

    Raises:
        UserError: the optimizer knows no groups, or has taken steps without them.
    """
    require_model(model)
    layer, optimizer = find_encoder_layer(model), optimizer_of(model)
    if layer is None or optimizer is None:
        return model
    plan, ours = layer.transfer, isinstance(optimizer, AdamW)
    if not plan.needs_groups and not (plan.new_head and ours):
        return model
    if not ours:
        raise UserError(
            f"gradual unfreezing and rates for parts need this package's optimizer, not {type(optimizer).__name__}: compile with "
            "tl_keras.training.optimizer.make_optimizer(rate)."
        )
    if optimizer.group_names:
        return model
    multipliers = plan.multipliers(layer.parts, head_multiplier(optimizer) if plan.new_head else 1.0)
    names = list(multipliers)
    part_of = {id(weight): name for name, weights in layer.part_weights().items() for weight in weights}
    members = [names.index(part_of.get(id(weight), HEAD)) for weight in model.trainable_variables]
    frozen = set()
    if plan.mode == "gradual":
        frozen = set(names) - {HEAD}
        if names.index(HEAD) not in members:
            # No head learns, as in the towers of a sentence encoder: so the top block begins.
            frozen -= set(layer.transfer.stages(layer.parts)[1])
    optimizer.set_groups(names, members, list(multipliers.values()), [-1 if name in frozen else 0 for name in names])
    return model


def let_head_learn_faster(model: keras.Model) -> None:
    """Let a linear head that begins at random learn up to `HEAD_MULTIPLIER` times as fast as the encoder below it, from `prepare` on.

    The rates that suit a pre-trained encoder are too low for weights that begin at nearly zero: through the first epoch on few labels the head
    says next to nothing, and what the encoder learns from it is noise. An optimizer of the user's own, which knows no groups, does without.

    Args:
        model: that is not compiled yet.

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
        https://arxiv.org/abs/2202.10054, who train the head first; measured in docs/results.md.
    """
    layer = encoder_layer_of(model, inside=True)
    layer.transfer = dataclasses.replace(layer.transfer, new_head=True)


def head_multiplier(optimizer: AdamW) -> float:
    """How many times as fast as the encoder a new head learns: at most at 5e-3, but never slower than the encoder."""
    schedule = optimizer._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule) and not hasattr(schedule, "peak"):
        return 1.0  # of the user's own; nobody knows how high it goes
    rate = float(getattr(schedule, "peak", None) or optimizer.learning_rate)
    return min(HEAD_MULTIPLIER, max(default_learning_rate(None, trainable=False) / rate, 1.0)) if rate else 1.0


def optimizer_of(model: keras.Model):
    """The optimizer that moves the weights, without a wrapper that scales losses; None if the model is not compiled."""
    optimizer = getattr(model, "optimizer", None)
    return getattr(optimizer, "inner_optimizer", optimizer)


def _fresh(optimizer, learning_rate: float | None):
    """An optimizer with the same settings that has taken no step and has no groups."""
    config = optimizer.get_config()
    config.pop("groups", None)
    schedule = getattr(optimizer, "_learning_rate", None)
    if learning_rate is not None:
        config["learning_rate"] = WarmupLinearDecay(learning_rate) if isinstance(optimizer, AdamW) else learning_rate
    elif isinstance(schedule, WarmupLinearDecay):
        # Without the plan of a fit that is over.
        config["learning_rate"] = WarmupLinearDecay(schedule.peak, schedule.warmup)
    return type(optimizer).from_config(config)


class GradualUnfreezing(keras.callbacks.Callback):
    """Wakes one part of the encoder after the other, from the top; `fit` adds it by itself under `transfer="gradual"`.

    The training function is not traced again: it reads from a variable which parts are frozen. So the backward pass goes through the whole
    encoder from the first step on; to save its time, train in two calls of `fit` with `set_transfer` between them.

    What woke stays unfrozen, also in a second `fit` and in one that resumes.
    """

    def on_train_begin(self, logs=None):
        """Find the parts, and say which of them will not be reached."""
        layer = encoder_layer_of(self.model, inside=True)
        plan, self._optimizer = layer.transfer, optimizer_of(self.model)
        if plan.mode != "gradual":
            raise UserError(f'GradualUnfreezing needs transfer="gradual", but this model has {plan.mode!r}.')
        self._stages = plan.stages(layer.parts)
        self._every, self._unit = plan.interval
        self._stage = 0
        epochs, steps = (self.params or {}).get("epochs"), (self.params or {}).get("steps")
        last = None
        if self._unit == "epochs" and epochs:
            last = (epochs - 1) // self._every
        elif epochs and steps:
            last = (int(self._optimizer.iterations.numpy()) + epochs * steps - 1) // self._every
        if last is not None and last < len(self._stages) - 1:
            missed = [name for stage in self._stages[last + 1 :] for name in stage]
            logger.warning(
                "Gradual unfreezing: this training is too short to reach %s, which keep their pre-trained weights. One block every %d %s "
                "takes %d %s in all.",
                ", ".join(missed), self._every, self._unit, self._every * (len(self._stages) - 1) + 1, self._unit,
            )  # fmt: skip

    def on_epoch_begin(self, epoch, logs=None):
        """Wake what is due at this epoch (from 0)."""
        if self._unit == "epochs":
            self._unfreeze(epoch // self._every)

    def on_train_batch_begin(self, batch, logs=None):
        """Wake what is due at this step."""
        if self._unit == "steps" and self._stage < len(self._stages) - 1:
            self._unfreeze(int(self._optimizer.iterations.numpy()) // self._every)

    def _unfreeze(self, stage: int) -> None:
        if stage <= self._stage:
            return
        self._stage = min(stage, len(self._stages) - 1)
        names = self._optimizer.unfreeze([name for names in self._stages[: self._stage + 1] for name in names])
        if names:
            logger.info("Now also learning: %s.", ", ".join(names))


@dataclasses.dataclass(frozen=True)
class PartRow:
    """One line of the table.

    Attributes:
        part: its name.
        parameters: how many numbers its weights hold.
        trainable: whether it learns, now or later.
        multiplier: what the learning rate is multiplied by at this moment: 0 for frozen parts, and for those that gradual unfreezing
            has not reached yet.
    """

    part: str
    parameters: int
    trainable: bool
    multiplier: float


@dataclasses.dataclass(frozen=True)
class Description:
    """A model's parts from the input to the output, as `rows`; `str` gives a table.

    Attributes:
        transfer: the way of transfer.
        rows: one for each part.
        notes: what could not be told apart, in sentences.
    """

    transfer: str
    rows: tuple[PartRow, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [("part", "parameters", "trainable", "learning rate")]
        lines += [
            (row.part, f"{row.parameters:,}", "yes" if row.trainable else "no", f"x {row.multiplier:.4g}")
            for row in self.rows
        ]
        learning = sum(row.parameters for row in self.rows if row.trainable)
        lines.append(("all", f"{sum(row.parameters for row in self.rows):,}", f"{learning:,}", ""))
        width = [max(len(line[column]) for line in lines) for column in range(4)]
        table = [
            f"{part:<{width[0]}}  {count:>{width[1]}}  {trainable:>{width[2]}}  {rate:>{width[3]}}".rstrip()
            for part, count, trainable, rate in lines
        ]
        return "\n".join([f"transfer: {self.transfer}", *table, *self.notes])


def describe(model: keras.Model) -> Description:
    """Tell what a model is made of and what learns in it.

    Args:
        model: of any builder of this package, or one that holds its encoder.

    Returns:
        A description; print it, or read its `rows`.

    Raises:
        UserError: there is no encoder in the model.

    Example:
        >>> model = tlk.text_classifier(encoder, ["negative", "positive"], transfer=tlk.Transfer("freeze"))
        >>> print(describe(model))
        transfer: freeze
        part ...
        head ...
    """
    layer = encoder_layer_of(model, inside=True)
    optimizer = optimizer_of(model)
    rates = getattr(optimizer, "multipliers", dict)()
    if not rates and layer.transfer.needs_groups:
        rates = layer.transfer.multipliers(layer.parts)
        if layer.transfer.mode == "gradual":
            rates = {name: rate if name == HEAD else 0.0 for name, rate in rates.items()}
    learning = {id(weight) for weight in model.trainable_weights}
    groups = layer.part_weights()
    of_encoder = {id(weight) for weight in layer.weights}
    groups[HEAD] = [weight for weight in model.weights if id(weight) not in of_encoder]
    rows = []
    for name, weights in groups.items():
        trainable = any(id(weight) in learning for weight in weights)
        count = sum(math.prod(weight.shape) for weight in weights)
        rows.append(PartRow(name, count, trainable, rates.get(name, 1.0) if trainable else 0.0))
    return Description(layer.transfer.mode, tuple(rows), layer.parts.notes)
