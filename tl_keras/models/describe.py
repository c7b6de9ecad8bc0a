"""`describe`: what a model is made of, and how fast each part learns."""

from __future__ import annotations

import dataclasses
import math

from tl_keras._keras import keras
from tl_keras.encoders.blocks import HEAD
from tl_keras.models.transfer_control import optimizer_of, require_encoder_layer


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
    layer = require_encoder_layer(model)
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
