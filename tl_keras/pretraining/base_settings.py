"""What the runs of all language models can be told: corpora, length, learning rate, and how often to save."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tl_keras.errors import UserError
from tl_keras.ranges import check_ranges
from tl_keras.settings import check_choices, data_setting, learning_setting, model_setting, run_setting


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings:
    """Settings that runs of every kind have; `config.json` of a run holds them, and `--resume` reads them back.

    Those with a help text are options of the command line.
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
    not_options: ClassVar[tuple[str, ...]] = ()
    """Which mean nothing to a kind, and are no options of its command."""

    out: str = run_setting(help="Run folder to write.")
    corpus: tuple[str, ...] = data_setting(
        (),
        help="UTF-8 text, a sentence or text a line, an empty line between documents; or a table (CSV, JSON lines, Parquet, ...), a document "
        "a row. Can be repeated.",
        type=list[str] | None,
    )
    text: str = data_setting("text", help="Column of a table with the text.")
    licences: tuple[str, ...] = data_setting(
        (), help="Licence of each corpus, in order, for the model card.", option="licence", type=list[str] | None
    )
    lower_case: bool = data_setting(False, help="Lower-case all texts.")
    vocab_size: int | None = data_setting(None, help="Size of the vocabulary.")
    heldout_fraction: float = data_setting(0.01, help="Fraction of documents kept back for measuring.")
    layers: int = model_setting(4, help="Number of transformer blocks.")
    width: int = model_setting(256, help="Width of the hidden states.")
    dropout: float = model_setting(0.0, help="Dropout while pre-training.")
    steps: int | None = run_setting(None, help="Length of the run in steps, in all.")
    minutes: float | None = run_setting(None, help="Length of the run in minutes, in all.")
    batch_tokens: int = learning_setting(4096, help="Tokens in a batch, padding included.")
    peak_learning_rate: float = learning_setting(2e-3, help="Peak learning rate.", option="learning_rate")
    warmup_steps: int = learning_setting(150, help="Steps until the peak learning rate.")
    checkpoint_steps: int = run_setting(200, help="Steps between checkpoints.")
    history_steps: int = run_setting(50, help="Steps between rows of history.csv.")
    heldout_steps: int = run_setting(400, help="Steps between held-out measurements.")
    name: str | None = run_setting(None, help="Name of the model, for the model card.")
    seed: int = run_setting(0, help="Random seed of the whole run.")

    def __post_init__(self):
        options = dataclasses.asdict(self)
        check_ranges({name: options[name] for name in options if name not in self.checked_later}, command_line=True)
        check_choices(self)
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

    @property
    def row_lengths(self) -> tuple[tuple[float, int], ...]:
        """The longest row, in tokens: pairs (fraction of the run, length); see `Schedule`."""
        raise NotImplementedError

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
