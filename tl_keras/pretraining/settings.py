"""Everything that a BERT pre-training run can be told."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from tl_keras.errors import UserError

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class BertSettings:
    """The settings of `pretrain_bert`; `config.json` of a run holds them, and `--resume` reads them back.

    Attributes:
        out: Run folder.
        corpus: UTF-8 files, one sentence per line, empty line between documents.
        licences: What is known of each file's licence, for the model card; in the order of `corpus`.
        tokens: Folder of token files, written there or reused; by default `out`/tokens.
        vocab: A `vocab.txt` to use; by default a vocabulary is learned.
        vocab_size: Pieces to learn.
        alphabet_size: Characters to keep; by default a sixth of `vocab_size`.
        lower_case: Make an uncased vocabulary.
        lowercase_share: Share of documents that are lower-cased for a cased encoder, so that it meets both.
        heldout_share: Share of documents kept back for measuring.
        init: Encoder pair to go on from.
        init_embeddings: Vectors of the pieces (`.npy` or word2vec text), or `skip-gram` to learn them first.
        init_deviation: Standard deviation those vectors are scaled to.
        layers, width, heads, intermediate, max_positions: Shape of a new encoder.
        dropout: Share of dropped units while pre-training.
        finetune_dropout: Share that the exported pair drops when it is fine-tuned.
        precision: `float32`, or `bfloat16` for matrix products in bfloat16 on float32 weights.
        steps, minutes: Length of the run, one of the two.
        batch_tokens: Pieces in a batch, padding included.
        lengths: Length schedule, pairs (share of the run, row length).
        peak_rate, warmup_steps, weight_decay: Of the optimizer.
        mask_share, mask, random, whole_words: See `Masking`.
        checkpoint_steps, history_steps, heldout_steps: Steps between these.
        name: Of the encoder, for the model card.
        seed: Of everything.
    """

    out: str
    corpus: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    tokens: str | None = None
    vocab: str | None = None
    vocab_size: int = 8000
    alphabet_size: int | None = None
    lower_case: bool = False
    lowercase_share: float = 0.0
    heldout_share: float = 0.01
    init: str | None = None
    init_embeddings: str | None = None
    init_deviation: float = 0.04
    layers: int = 4
    width: int = 256
    heads: int | None = None
    intermediate: int | None = None
    max_positions: int = 512
    dropout: float = 0.0
    finetune_dropout: float = 0.1
    precision: str = "float32"
    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 4096
    lengths: tuple[tuple[float, int], ...] = field(default=((1.0, 128),))
    peak_rate: float = 2e-3
    warmup_steps: int = 150
    weight_decay: float = 0.01
    mask_share: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = False
    checkpoint_steps: int = 200
    history_steps: int = 50
    heldout_steps: int = 400
    name: str | None = None
    seed: int = 0

    def __post_init__(self):
        if not self.corpus and not self.tokens:
            raise UserError("give text with --corpus FILE, or token files made earlier with --tokens FOLDER")
        if self.init and self.init_embeddings:
            raise UserError("--init brings its own embeddings; leave out --init-embeddings")
        if self.licences and len(self.licences) != len(self.corpus):
            raise UserError(
                f"{len(self.licences)} --licence for {len(self.corpus)} --corpus: give one for each, in order"
            )
        if self.precision not in PRECISIONS:
            raise UserError(f"--precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        for name in ("lowercase_share", "heldout_share", "dropout", "finetune_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0 + (name == "lowercase_share"):
                raise UserError(
                    f"--{name.replace('_', '-')} must be a share between 0 and 1, not {getattr(self, name)}"
                )
        for name in (
            "vocab_size",
            "layers",
            "width",
            "batch_tokens",
            "checkpoint_steps",
            "history_steps",
            "heldout_steps",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        if not self.init and max(length for _, length in self.lengths) > self.max_positions:
            raise UserError(f"--length-schedule asks for longer rows than --max-positions {self.max_positions}")

    def as_dict(self) -> dict:
        """Plain values for `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> BertSettings:
        """The settings that `as_dict` gave, read back from JSON."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {name: value for name, value in values.items() if name in known}
        values["lengths"] = tuple((float(share), int(length)) for share, length in values["lengths"])
        return cls(**{**values, "corpus": tuple(values["corpus"]), "licences": tuple(values["licences"])})


def resumed_settings(out: str | Path, steps: int | None = None, minutes: float | None = None) -> BertSettings:
    """The settings of an earlier run, to resume it; its length may be changed.

    Args:
        out: The run folder.
        steps: New length in steps.
        minutes: New length in minutes.

    Raises:
        UserError: The folder holds no run.
    """
    path = Path(out) / "config.json"
    if not path.is_file():
        raise UserError(f"{out} holds no config.json: there is no run to resume")
    settings = BertSettings.from_dict(json.loads(path.read_text(encoding="utf-8")) | {"out": str(out)})
    if steps or minutes:
        settings = dataclasses.replace(settings, steps=steps, minutes=minutes)
    return settings
