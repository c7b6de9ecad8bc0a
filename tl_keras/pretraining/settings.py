"""Everything that the pre-training of a BERT or of a GPT can be told, and what the runs of all language models have in common."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tl_keras.errors import UserError
from tl_keras.pretraining.schedule import parse_lengths
from tl_keras.settings import check_choices, check_ranges, data_setting, learning_setting, model_setting, run_setting


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


PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TransformerSettings(PretrainingSettings):
    """What BERT and GPT have in common."""

    vocab_size: int = data_setting(8000, help="Size of the vocabulary to learn.")
    heads: int | None = model_setting(None, help="Attention heads. Default: one per 64 units of width.")
    init_embeddings: str | None = model_setting(
        None,
        help="Word vectors of the tokens to start from (.npy or word2vec text), or skip-gram to learn them first.",
    )
    init_deviation: float = 0.04
    """Standard deviation those vectors are scaled to."""
    weight_decay: float = learning_setting(0.01, help="Weight decay of AdamW.")


@dataclass(frozen=True, kw_only=True)
class BertSettings(TransformerSettings):
    """Settings of `pretrain bert`."""

    kind = "bert"
    fractions = ("heldout_fraction", "dropout", "finetune_dropout")

    tokens: str | None = data_setting(
        None, help="Folder of token files: reused if they fit, else written. Default: OUT/tokens."
    )
    vocab: str | None = data_setting(None, help="Vocabulary (vocab.txt) to use. Default: learn one.")
    alphabet_size: int | None = data_setting(None, help="Characters to keep. Default: a sixth of --vocab-size.")
    lower_case: bool = data_setting(False, help="Lower-case all texts: an uncased encoder.")
    lowercase_fraction: float = data_setting(
        0.0, help="Fraction of documents that are lower-cased for a cased encoder, so that it meets both."
    )
    init: str | None = model_setting(None, help="Continue from this encoder pair (preset, URL or folder).")
    intermediate: int | None = model_setting(None, help="Width of the feed-forward layers. Default: 4 x width.")
    max_positions: int = model_setting(512, help="Longest sequence the encoder can take, in tokens.")
    finetune_dropout: float = model_setting(0.1, help="Dropout in the exported encoder.")
    peak_learning_rate: float | None = learning_setting(
        None, help="Peak learning rate. Default: 2e-3, or 2e-4 with --init.", option="learning_rate"
    )
    precision: str = run_setting(
        "float32",
        help="Precision of matrix products: float32, or bfloat16 on float32 weights.",
        choices=PRECISIONS,
    )
    lengths: tuple[tuple[float, int], ...] = learning_setting(
        ((1.0, 128),),
        help="Row length, or LENGTH@FRACTION,...: 64@0.5,128@1 is short rows for the first half. Default: 128.",
        option="length_schedule",
        type=str | None,
        read=parse_lengths,
    )
    mask_fraction: float = learning_setting(0.15, help="Fraction of tokens to predict.")
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = learning_setting(False, help="Mask whole words, not single tokens.")

    @property
    def row_lengths(self):
        """Those of the length schedule."""
        return self.lengths

    def __post_init__(self):
        if self.peak_learning_rate is None:
            # An encoder that has learned already is spoilt by the rate at which random weights learn.
            object.__setattr__(self, "peak_learning_rate", 2e-4 if self.init else 2e-3)
        super().__post_init__()
        if not self.corpus and not self.tokens:
            raise UserError("give text with --corpus FILE, or token files made earlier with --tokens FOLDER")
        if self.init and self.init_embeddings:
            raise UserError("--init brings its own embeddings; leave out --init-embeddings")
        if not 0.0 <= self.lowercase_fraction <= 1.0:
            raise UserError(f"--lowercase-fraction must lie between 0 and 1, not at {self.lowercase_fraction}")
        if min((length for _, length in self.lengths), default=8) < 8:
            raise UserError("rows of fewer than 8 tokens hold too little to predict from; give longer ones")
        if not self.init and max((length for _, length in self.lengths), default=0) > self.max_positions:
            raise UserError(f"--length-schedule asks for longer rows than --max-positions {self.max_positions}")


@dataclass(frozen=True, kw_only=True)
class GptSettings(TransformerSettings):
    """Settings of `pretrain gpt`."""

    kind = "gpt"
    least = {**PretrainingSettings.least, "heads": 1, "max_length": 8}  # noqa: RUF012
    not_options = ("lower_case",)

    max_length: int = model_setting(
        128, help="Tokens of a row; also the longest text that the model can read and write."
    )
    batch_tokens: int = learning_setting(2048, help="Tokens in a batch, padding included.")

    @property
    def row_lengths(self):
        """One length for the whole run."""
        return ((1.0, self.max_length),)

    def __post_init__(self):
        super().__post_init__()
        if not self.corpus:
            raise UserError("give text with --corpus FILE")
        if self.batch_tokens < self.max_length:
            raise UserError(
                f"--batch-tokens {self.batch_tokens} is less than one row of --max-length {self.max_length}"
            )
        if self.width % (self.heads or max(self.width // 64, 1)):
            raise UserError(f"--width {self.width} cannot be divided among {self.heads or self.width // 64} heads")
