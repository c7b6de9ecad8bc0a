"""What is to learn, when and how fast: the user's wish, checked, as one object."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from tl_keras.encoders.blocks import EMBEDDINGS, HEAD, POOLER, UNUSED, Parts
from tl_keras.errors import UserError

MODES = "freeze, fine-tune, top-K (top-1, top-2, ...), gradual"


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A way of transfer with its settings; builders and `set_transfer` take it wherever they take its name.

    Args:
        mode: `"freeze"` trains the head only; `"fine-tune"` everything; `"top-2"` the two upper blocks, the pooler and the head;
            `"gradual"` the head first, then also the top block and the pooler, then one block more at a time, the embeddings last.
        unfreeze_every: for `"gradual"`: epochs between two blocks, as a number or `"2 epochs"`, or steps, as `"200 steps"`. By
            default one epoch.
        layer_decay: each block learns at this fraction of the learning rate of the block above it, the embeddings at this fraction of the lowest
            block's; the top block, the pooler and the head learn at the full rate.
        lr_multipliers: from a part's name to the fraction of the learning rate at which it learns, e.g. `{"embeddings": 0.1}` to begin with the
            pre-trained vectors and learn slowly. `"block *"` means all blocks, `"head"` all that is not of the encoder; of two that
            mean the same part the later counts. Goes before `layer_decay`.
        new_head: whether the head begins at random and should learn faster than the encoder, see
            `tl_keras.models.transfer_control.let_head_learn_faster`; builders say so. `"head"` in `lr_multipliers` goes before it.

    Raises:
        UserError: an option that is not known, does not fit the mode, or is out of range.

    Source: top layers and layer-wise rates: Sun et al., "How to Fine-Tune BERT for Text Classification?",
        https://arxiv.org/abs/1905.05583; gradual unfreezing: Howard and Ruder, "Universal Language Model Fine-tuning for Text
        Classification", https://arxiv.org/abs/1801.06146.

    Example:
        >>> Transfer("gradual", unfreeze_every="200 steps").interval
        (200, 'steps')
        >>> Transfer("top-2").top
        2
    """

    mode: str = "fine-tune"
    unfreeze_every: int | str | None = None
    layer_decay: float = 1.0
    lr_multipliers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    new_head: bool = False

    def __post_init__(self):
        check_mode(self.mode)
        interval(self.unfreeze_every)
        if self.unfreeze_every is not None and self.mode != "gradual":
            raise UserError(f'unfreeze_every is for transfer="gradual", not for {self.mode!r}.')
        if not 0.0 < self.layer_decay <= 1.0:
            raise UserError(f"layer_decay must be above 0 and at most 1, not {self.layer_decay}.")
        if not isinstance(self.lr_multipliers, Mapping):
            raise UserError('lr_multipliers must map parts to factors on the learning rate, e.g. {"embeddings": 0.1}.')
        for name, rate in self.lr_multipliers.items():
            if not isinstance(rate, (int, float)) or not 0.0 <= rate <= 100.0:
                raise UserError(
                    f"the rate of {name!r} must be a fraction of the learning rate, 0 or more, not {rate!r}."
                )
        if self.mode == "freeze" and self.layer_decay != 1.0:
            raise UserError(
                'layer_decay says nothing where the encoder is frozen; leave it out, or choose "fine-tune".'
            )

    @classmethod
    def of(cls, value: str | Mapping[str, Any] | Transfer) -> Transfer:
        """A mode's name, the dict of `to_config`, or such an object, as an object.

        Raises:
            UserError: no such mode.
        """
        if isinstance(value, Transfer):
            return value
        return cls(**value) if isinstance(value, Mapping) else cls(value)

    def to_config(self) -> dict[str, Any]:
        """For the config of a layer."""
        return {
            "mode": self.mode,
            "unfreeze_every": self.unfreeze_every,
            "layer_decay": self.layer_decay,
            "lr_multipliers": dict(self.lr_multipliers),
            "new_head": self.new_head,
        }

    @property
    def trains_encoder(self) -> bool:
        """Whether anything in the encoder learns."""
        return self.mode != "freeze"

    @property
    def top(self) -> int | None:
        """How many upper blocks learn; None if that is not the mode."""
        return int(self.mode[4:]) if self.mode.startswith("top-") else None

    @property
    def interval(self) -> tuple[int, str]:
        """`(count, "epochs" or "steps")` between two blocks of gradual unfreezing."""
        return interval(self.unfreeze_every)

    @property
    def needs_groups(self) -> bool:
        """Whether the optimizer has to treat parts differently, because the user said so."""
        return self.mode == "gradual" or self.layer_decay != 1.0 or bool(self.lr_multipliers)

    def learning(self, parts: Parts) -> set[str]:
        """Names of the encoder's parts that learn at some time.

        Raises:
            UserError: the encoder's blocks do not allow this.
        """
        if self.mode == "freeze":
            return set()
        if self.mode == "gradual":
            parts.require_blocks(1)
        if self.top is not None:
            return parts.upper(self.top)
        return {part.name for part in parts.parts}

    def multipliers(self, parts: Parts, head: float = 1.0) -> dict[str, float]:
        """The fraction of the learning rate for each part that learns, the head among them.

        Args:
            parts: of the encoder.
            head: that of the head where `lr_multipliers` gives none.

        Raises:
            UserError: a name in `lr_multipliers` matches nothing, or only what is frozen.
        """
        learning = self.learning(parts)
        if self.layer_decay != 1.0:
            parts.require_blocks(1)
        found = {}
        for part in parts.parts:
            if part.blocks:
                found[part.name] = self.layer_decay ** (parts.block_count - 1 - max(part.blocks))
            elif part.name == EMBEDDINGS:
                found[part.name] = self.layer_decay**parts.block_count
            else:
                found[part.name] = 1.0
        found[HEAD] = head
        for pattern, rate in self.lr_multipliers.items():
            names = parts.matching(pattern, [HEAD])
            if not any(name in learning or name == HEAD for name in names):
                raise UserError(
                    f"the rate for {pattern!r} says nothing: transfer={self.mode!r} freezes {', '.join(names)}."
                )
            found.update(dict.fromkeys(names, float(rate)))
        return {name: rate for name, rate in found.items() if name in learning or name == HEAD}

    def stages(self, parts: Parts) -> list[list[str]]:
        """For gradual unfreezing: the parts that join at each stage; the head is the first."""
        blocks = [part.name for part in parts.parts if part.blocks][::-1]
        stages = [[HEAD], *([name] for name in blocks)]
        names = {part.name for part in parts.parts}
        stages[1] += [name for name in (POOLER,) if name in names]
        lowest = [name for name in (EMBEDDINGS, UNUSED) if name in names]
        return [*stages, lowest] if lowest else stages


def check_mode(mode: str) -> str:
    """Return `mode` if there is such a way of transfer.

    Raises:
        UserError: there is not.
    """
    if mode in {"freeze", "fine-tune", "gradual"} or re.fullmatch(r"top-[1-9]\d*", str(mode)):
        return mode
    raise UserError(f"transfer={mode!r} is not known; choose one of: {MODES}.")


def interval(text: int | str | None) -> tuple[int, str]:
    """Read an interval: a number of epochs, or a text such as `"2 epochs"` or `"200 steps"`.

    Raises:
        UserError: it is none.

    Example:
        >>> interval("2epochs"), interval(None), interval("1 step")
        ((2, 'epochs'), (1, 'epochs'), (1, 'steps'))
    """
    if text is None:
        return 1, "epochs"
    match = re.fullmatch(r"([1-9]\d*)\s*(epoch|step)?s?", str(text).strip().lower())
    if match is None or isinstance(text, bool):
        raise UserError(f'unfreeze_every={text!r} is no interval: give a number of epochs, "2 epochs" or "200 steps".')
    return int(match[1]), f"{match[2] or 'epoch'}s"


def parse_lr_multipliers(values: list[str] | None) -> dict[str, float]:
    """`PART=X` of the command line as a mapping.

    Raises:
        UserError: one of them is not of this form.

    Example:
        >>> parse_lr_multipliers(["embeddings=0.1", "block 0=0.5"])
        {'embeddings': 0.1, 'block 0': 0.5}
    """
    multipliers = {}
    for value in values or []:
        name, _, number = value.rpartition("=")
        try:
            multipliers[name.strip()] = float(number)
        except ValueError:
            name = ""
        if not name.strip():
            raise UserError(f"--lr-multiplier {value!r} must be PART=FACTOR, e.g. embeddings=0.1.")
    return multipliers
