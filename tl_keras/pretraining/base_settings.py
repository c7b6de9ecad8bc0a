"""What the runs of all language models can be told: corpora, length, learning rate, and how often to save."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tl_keras.errors import UserError
from tl_keras.ranges import check_ranges


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """Settings that runs of every kind have; `config.json` of a run holds them, and `--resume` reads them back.

    Attributes:
        out: Run folder.
        corpus: UTF-8 files, one sentence per line, empty line between documents.
        licences: What is known of each file's licence, for the card; in the order of `corpus`.
        lower_case: Make all letters small.
        vocab_size: Size of the vocabulary.
        heldout_fraction: Fraction of documents kept back for measuring.
        layers, width: Shape of the network.
        dropout: Fraction of dropped units while pre-training.
        steps, minutes: Length of the run, one of the two.
        batch_tokens: Tokens in a batch, padding included.
        peak_learning_rate, warmup_steps: Of the optimizer.
        checkpoint_steps, history_steps, heldout_steps: Steps between these.
        name: Of the model, for the card.
        seed: Of everything.
    """

    kind: ClassVar[str]
    """Of run; stands in `config.json`."""
    least: ClassVar[dict[str, int]] = {
        "vocab_size": 1, "layers": 1, "width": 1, "batch_tokens": 1, "warmup_steps": 0, "checkpoint_steps": 1,
        "history_steps": 1, "heldout_steps": 1,
    }  # fmt: skip
    """The lowest values of numbers."""
    fractions: ClassVar[tuple[str, ...]] = ("heldout_fraction", "dropout")
    """Which of them must lie below 1."""
    checked_later: ClassVar[tuple[str, ...]] = ()
    """Which a kind checks by itself, because their names mean something else there."""

    out: str
    corpus: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    lower_case: bool = False
    vocab_size: int | None = None
    heldout_fraction: float = 0.01
    layers: int = 4
    width: int = 256
    dropout: float = 0.0
    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 4096
    peak_learning_rate: float = 2e-3
    warmup_steps: int = 150
    checkpoint_steps: int = 200
    history_steps: int = 50
    heldout_steps: int = 400
    name: str | None = None
    seed: int = 0

    def __post_init__(self):
        options = dataclasses.asdict(self)
        check_ranges({name: options[name] for name in options if name not in self.checked_later}, command_line=True)
        if self.licences and len(self.licences) != len(self.corpus):
            raise UserError(
                f"{len(self.licences)} --licence for {len(self.corpus)} --corpus: give one for each, in order"
            )
        for name in self.fractions:
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"--{name.replace('_', '-')} must be at least 0 and below 1, not {getattr(self, name)}")
        for name, least in self.least.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")

    def as_dict(self) -> dict:
        """Plain values for `config.json`."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: dict) -> PretrainingSettings:
        """The settings that `as_dict` gave, read back from JSON."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: _tuples(value) for name, value in values.items() if name in known})

    @classmethod
    def resumed(cls, out: str | Path, steps: int | None = None, minutes: float | None = None) -> PretrainingSettings:
        """The settings of an earlier run, to resume it; its length may be changed.

        Args:
            out: The run folder.
            steps: New length in steps.
            minutes: New length in minutes.

        Raises:
            UserError: The folder holds no run of this kind.
        """
        path = Path(out) / "config.json"
        if not path.is_file():
            raise UserError(f"{out} holds no config.json: there is no run to resume")
        config = json.loads(path.read_text(encoding="utf-8"))
        # The first runs of BERT did not say what they were.
        kind = config.get("kind", "bert")
        if kind != cls.kind:
            raise UserError(f"{out} holds a run of {kind}, not of {cls.kind}; choose another --out")
        settings = cls.from_dict(config | {"out": str(out)})
        return dataclasses.replace(settings, steps=steps, minutes=minutes) if steps or minutes else settings


def _tuples(value: Any) -> Any:
    """What JSON made lists of, as tuples again."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
