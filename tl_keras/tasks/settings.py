"""What a training run of any task can be told; `task_settings` adds what one task alone can.

The options of the command line are made from the same fields. Nothing here imports TensorFlow, so that a slip in a setting costs no waiting.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import ClassVar

from tl_keras.encoders.transfer_plan import MODES, Transfer, check_mode, interval, parse_lr_multipliers
from tl_keras.encoders.word_vectors.read import looks_like_vectors
from tl_keras.errors import UserError
from tl_keras.options import (
    RARE,
    check_choices,
    check_ranges,
    data_setting,
    learning_setting,
    model_setting,
    run_setting,
)
from tl_keras.training.cluster import STRATEGIES

SLOW = 0.1
"""The fraction of the learning rate at which `--transfer slow` moves word vectors."""
DEFAULT_ENCODER = "ko-en-small"
"""The one that comes with the package: nothing to download."""

FILES = (
    "Training file: .csv, .tsv, .jsonl, .json, .parquet or .xlsx, text perhaps with .gz or .zst; a folder with a subfolder of .txt files "
    "for each class; a pattern in quotes; or several with commas between."
)
POOLINGS = ("cls", "mean", "max", "mix", "mix-cls")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What the runs of all tasks can be told. `None` means: chosen by the run, and written down in `config.json`."""

    not_options: ClassVar[tuple[str, ...]] = ()
    """Settings that mean nothing to a task, and are no options of its command."""

    train: str = data_setting(help=FILES)
    out: str = run_setting(help="Run folder to write.")
    encoder: str = model_setting(
        DEFAULT_ENCODER, help="Preset, TF Hub or Kaggle URL, .tar.gz or folder with encoder/ and preprocess/."
    )
    preprocessor: str | None = model_setting(
        None, help="Preprocessing module, where the encoder's is not known.", panel=RARE
    )
    validation: str | None = data_setting(None, help="File to validate on, of any such kind.")
    validation_split: float = data_setting(
        0.1, help="Fraction of the training file to validate on, where no file is given."
    )
    encoding: str = data_setting(
        "utf-8", help="Character encoding of text files: utf-8, cp949 (Korean), cp1252, ...", panel=RARE
    )
    limit: int | None = data_setting(None, help="Train on this many examples only, drawn at random.", least=1)

    transfer: str = learning_setting(
        "fine-tune",
        help="freeze (train the head only), fine-tune (everything), top-1, top-2, ... (this many upper blocks and the head), or "
        "gradual (the head first, then one block more at a time, from the top).",
    )
    unfreeze_every: str | None = learning_setting(
        None,
        help='With --transfer gradual: interval between two blocks, e.g. "2 epochs" or "200 steps". Default: 1 epoch.',
        panel=RARE,
    )
    layer_decay: float = learning_setting(
        1.0,
        help="Each block learns at this fraction of the learning rate of the block above; 1: all blocks alike.",
        panel=RARE,
    )
    lr_multiplier: list[str] | None = learning_setting(  # noqa: RUF009
        None,
        help='Learning-rate multiplier of a part, e.g. embeddings=0.1, "block *=0.5", head=2. Can be repeated.',
        panel=RARE,
        metavar="PART=FACTOR",
    )
    layers: int | None = model_setting(
        None, help="Use only the first N blocks of the encoder; the rest is not saved.", least=1, panel=RARE
    )
    seq_length: int = model_setting(128, help="Longest input in tokens; longer ones are cut.")

    epochs: int | None = learning_setting(
        None, help="Passes over the training data. Default: by the number of examples and by --transfer.", least=1
    )
    batch_size: int = learning_setting(32, help="Examples in a batch.", least=1)
    learning_rate: float | None = learning_setting(None, help="Peak learning rate. Default: by encoder and --transfer.")
    scale_learning_rate: str = learning_setting(
        "none",
        help="How the learning rate follows the batch size: none, linear (k times 32 examples, k times the rate) or sqrt.",
        panel=RARE,
        choices=("none", "linear", "sqrt"),
    )
    patience: int | None = learning_setting(None, help="Stop after this many epochs without a better validation score.")
    seed: int = learning_setting(0, help="Random seed of split, shuffling, head and dropout.")
    strategy: str = run_setting(
        "auto",
        help=f"Distribution strategy: {', '.join(STRATEGIES)}; see docs/distributed.md.",
        choices=STRATEGIES,
        panel=RARE,
    )
    mixed_precision: bool = run_setting(
        False, help="Compute the head in half precision; the encoder stays as it was saved.", panel=RARE
    )
    steps_per_execution: int = run_setting(
        1, help="Batches for each call of the training function; more for TPUs.", least=1, panel=RARE
    )
    resume: bool = run_setting(False, help="Write checkpoints; go on from the newest one of an interrupted run.")
    checkpoint_every: int = run_setting(
        500,
        help="With --resume: write a checkpoint every N steps too, not only after each epoch; 0: never.",
        least=0,
        panel=RARE,
    )
    frozen_encoders: bool = run_setting(
        False,
        help="Take only encoders whose handle is pinned (#sha256=...), or that the run to be replaced was trained on.",
        panel=RARE,
    )
    overwrite: bool = run_setting(False, help="Replace the run folder if it exists.")

    def __post_init__(self):
        check_ranges(dataclasses.asdict(self), command_line=True)
        check_choices(self)
        if self.validation and re.fullmatch(r"0?\.\d+|\d+ ?%", self.validation) and not Path(self.validation).exists():
            raise UserError(
                f"--validation takes a file, and there is none named {self.validation}; a fraction is --validation-split."
            )
        check_mode(self.mode)
        interval(self.unfreeze_every)
        parse_lr_multipliers(self.lr_multiplier)

    @property
    def mode(self) -> str:
        """The way of transfer, by the name that `Transfer` knows."""
        return self.transfer

    @property
    def plan(self) -> Transfer:
        """What is to learn, and how fast.

        Raises:
            UserError: the settings contradict each other.
        """
        return Transfer(self.mode, self.unfreeze_every, self.layer_decay, parse_lr_multipliers(self.lr_multiplier))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSettings(RunSettings):
    """Of tasks that read tables."""

    text: str = data_setting("text", help="Column with the text.")
    text_pair: str | None = data_setting(None, help="Column with the second text, for pair tasks.")
    separator: str | None = data_setting(
        None,
        help="Separator between the columns of a text file. Default: the one in its header (tab, comma, ; or |).",
        panel=RARE,
    )
    quoting: str = data_setting(
        "auto",
        help="Quoting of cells: auto, standard, or none (quotes are ordinary characters).",
        choices=("auto", "standard", "none"),
        panel=RARE,
    )
    on_empty: str = data_setting(
        "drop", help="Rows with an empty text: drop, keep or error.", choices=("drop", "keep", "error"), panel=RARE
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadSettings(RunSettings):
    """Of tasks with a head of their own on the encoder."""

    dropout: float = model_setting(0.1, help="Dropout before the head.", panel=RARE)
    hidden: list[int] | None = model_setting(  # noqa: RUF009
        None,
        help="Width of a hidden dense layer in the head. Can be repeated. Default: none, a linear head.",
        least=1,
        panel=RARE,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordVectorTaskSettings(HeadSettings):
    """Of tasks that can also be learned on word vectors, and on those of a biLM."""

    RANDOM_VECTORS: ClassVar[str] = "random"
    NO_VECTORS: ClassVar[str] = "none"

    encoder: str = model_setting(
        DEFAULT_ENCODER,
        help="Preset, TF Hub or Kaggle URL, .tar.gz or folder with encoder/ and preprocess/; or word vectors: a file (.vec, .txt, .bin), or "
        "random; none with --elmo alone.",
    )
    transfer: str = learning_setting(
        "fine-tune",
        help="freeze (train the head only), fine-tune (everything), top-1, top-2, ... (this many upper blocks and the head), or "
        "gradual (the head first, then one block more at a time, from the top). Word vectors: init (as fine-tune), freeze, or slow (they "
        "learn at a tenth of the rate).",
    )
    recurrent: str = model_setting(
        "auto",
        help="Recurrent layers that read the encoder's vectors in both directions: lstm, gru or none. Default: lstm for word vectors, else none.",
        choices=("auto", "lstm", "gru", "none"),
    )
    elmo: str | None = model_setting(
        None, help="biLM of pretrain bilm, or TF Hub's elmo/3; its vectors, frozen, are joined to word vectors."
    )
    elmo_at: str = model_setting(
        "input",
        help="Where the ELMo vectors are joined: input (of the recurrent network), output, or both.",
        panel=RARE,
        choices=("input", "output", "both"),
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.on_word_vectors:
            if self.transfer in ("init", "slow"):
                raise UserError(
                    f"--transfer {self.transfer} is a way of word vectors, and {self.encoder} is none: choose one of {MODES}."
                )
            if self.elmo is not None:
                raise UserError(
                    f"--elmo joins its vectors to word vectors, not to {self.encoder}: give a file of them with --encoder, or --encoder "
                    f"{self.RANDOM_VECTORS}, or --encoder {self.NO_VECTORS} for the biLM alone."
                )
            return
        if self.mode not in ("freeze", "fine-tune"):
            raise UserError(
                f"word vectors have no blocks, so --transfer {self.transfer} says nothing: choose init, freeze or slow."
            )
        if self.encoder == self.NO_VECTORS and (self.elmo is None or self.elmo_at == "output"):
            raise UserError(
                f"--encoder {self.NO_VECTORS} leaves nothing to read: add --elmo FOLDER, joined at the input, or give word vectors."
            )
        if self.recurrent == "none" and self.elmo is not None and self.elmo_at != "input":
            raise UserError(
                f"--elmo-at {self.elmo_at} joins vectors to what a recurrent network gives: choose --recurrent lstm or gru."
            )

    @property
    def on_word_vectors(self) -> bool:
        """Whether the encoder is made of word vectors."""
        return self.encoder in (self.RANDOM_VECTORS, self.NO_VECTORS) or looks_like_vectors(self.encoder)

    @property
    def mode(self) -> str:
        """The way of transfer, by the name that `Transfer` knows."""
        return "fine-tune" if self.transfer in ("init", "slow") else self.transfer

    @property
    def plan(self) -> Transfer:
        """What is to learn, and how fast."""
        plan = super().plan
        return (
            dataclasses.replace(plan, lr_multipliers={"embeddings": SLOW, **plan.lr_multipliers})
            if self.transfer == "slow"
            else plan
        )
