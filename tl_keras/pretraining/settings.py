"""Everything that the pre-training of a language model can be told: what BERT, GPT and biLM have in common, and what is their own."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tl_keras.errors import UserError
from tl_keras.options import check_choices, check_ranges, data_setting, learning_setting, model_setting, run_setting
from tl_keras.pretraining.schedule import parse_lengths


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
        self._check_corpus()
        if self.licences and len(self.licences) != len(self.corpus):
            raise UserError(
                f"{len(self.licences)} --licence for {len(self.corpus)} --corpus: give one for each, in order"
            )
        for name, least in self.least.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")

    def as_dict(self) -> dict:
        """Plain values for `config.json`."""
        return {"kind": self.kind, **dataclasses.asdict(self)}

    @property
    def row_lengths(self) -> tuple[tuple[float, int], ...]:
        """The longest row, in tokens: pairs (fraction of the run, length), see `Schedule`; one length for the whole run if not said otherwise."""
        return ((1.0, self.max_length),)

    def _check_corpus(self) -> None:
        if not self.corpus:
            raise UserError("give text with --corpus FILE")

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
        known = {field.name for field in dataclasses.fields(cls)}
        settings = cls(**{name: _tuples(value) for name, value in {**config, "out": str(out)}.items() if name in known})
        return dataclasses.replace(settings, steps=steps, minutes=minutes) if steps or minutes else settings


def _tuples(value: Any) -> Any:
    """What JSON made lists of, as tuples again."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


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
        choices=("float32", "bfloat16"),
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

    def _check_corpus(self):
        if not self.corpus and not self.tokens:
            raise UserError("give text with --corpus FILE, or token files made earlier with --tokens FOLDER")

    def __post_init__(self):
        if self.peak_learning_rate is None:
            # An encoder that has learned already is spoilt by the rate at which random weights learn.
            object.__setattr__(self, "peak_learning_rate", 2e-4 if self.init else 2e-3)
        super().__post_init__()
        if self.init and self.init_embeddings:
            raise UserError("--init brings its own embeddings; leave out --init-embeddings")
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

    def __post_init__(self):
        super().__post_init__()
        if self.batch_tokens < self.max_length:
            raise UserError(
                f"--batch-tokens {self.batch_tokens} is less than one row of --max-length {self.max_length}"
            )
        if self.width % (self.heads or max(self.width // 64, 1)):
            raise UserError(f"--width {self.width} cannot be divided among {self.heads or self.width // 64} heads")


DEFAULT_FILTERS = ((1, 16), (2, 32), (3, 64), (4, 64), (5, 64), (6, 64))


def parse_filters(text: str) -> tuple[tuple[int, int], ...]:
    """Read the filters of the character CNN.

    Example:
        >>> parse_filters("1:16,3:64")
        ((1, 16), (3, 64))
    """
    try:
        return tuple((int(width), int(number)) for width, number in (pair.split(":") for pair in text.split(",")))
    except ValueError:
        raise UserError(f"--filters {text!r}: write WIDTH:NUMBER,..., for instance 1:16,2:32,3:64") from None


@dataclass(frozen=True, kw_only=True)
class BilmSettings(PretrainingSettings):
    """Settings of `pretrain bilm`. Its tokens are words."""

    kind = "bilm"
    least = {  # noqa: RUF012
        **PretrainingSettings.least, "vocab_size": 4, "layers": 2, "min_count": 1, "cells": 1, "char_width": 1, "highways": 0,
        "max_chars": 3, "max_length": 1, "samples": 0,
    }  # fmt: skip

    vocab_size: int | None = data_setting(
        None, help="Words to predict. Default: all that occur --min-count times, at most 30,000."
    )
    min_count: int = data_setting(
        2, help="How often a word must occur to be predicted; rarer ones are one unknown word."
    )
    lower_case: bool = data_setting(False, help="Lower-case all words.")
    tokens: str = model_setting(
        "chars",
        help="chars: words are read by their characters; words: by their place in the vocabulary.",
        choices=("chars", "words"),
    )
    vectors: str | None = model_setting(
        None, help="With --tokens words: word vectors to start from (word2vec, GloVe, fastText)."
    )
    width: int = model_setting(256, help="Width of each direction; ELMo vectors are twice as wide.")
    layers: int = model_setting(2, help="LSTM layers, at least 2.")
    cells: int | None = model_setting(
        None, help="Cells of each LSTM, projected to --width at each step. Default: --width, no projection."
    )
    char_width: int = model_setting(16, help="Width of a character's vector.")
    filters: tuple[tuple[int, int], ...] = model_setting(
        DEFAULT_FILTERS,
        help="Filters of the character CNN: WIDTH:NUMBER,... Default: 1:16,2:32,3:64,4:64,5:64,6:64.",
        type=str | None,
        read=parse_filters,
    )
    highways: int = model_setting(1, help="Highway layers above the character CNN.")
    max_chars: int = model_setting(48, help="Bytes of a word that are read, its two end marks included.")
    max_length: int = learning_setting(64, help="Words of a row; longer sentences are cut into several.")
    samples: int | None = learning_setting(
        None,
        help="Words the sampled softmax draws for each batch; 0: full softmax. Default: full up to 5,000 words, above that 2,048.",
    )
    dropout: float = model_setting(0.1, help="Dropout while pre-training.")
    batch_tokens: int = learning_setting(2048, help="Words in a batch, padding included.")
    warmup_steps: int = learning_setting(100, help="Steps until the peak learning rate.")
    clip_norm: float = learning_setting(5.0, help="Largest norm of the gradients; longer ones are scaled down to it.")

    def __post_init__(self):
        super().__post_init__()
        if self.vectors and self.tokens != "words":
            raise UserError("--vectors are the start of word embeddings: give --tokens words with them")
        if self.tokens == "chars" and (not self.filters or any(min(pair) < 1 for pair in self.filters)):
            raise UserError("--filters needs pairs WIDTH:NUMBER of 1 or more, for instance 1:16,2:32,3:64")
        if self.batch_tokens < self.max_length + 2:
            raise UserError(
                f"--batch-tokens {self.batch_tokens} is less than one row of --max-length {self.max_length} and its "
                "two ends"
            )

    def sample_count(self, vocabulary_size: int) -> int:
        """How many words the softmax draws for each batch; 0 for all of them."""
        if self.samples is not None:
            return self.samples
        return 0 if vocabulary_size <= 5000 else 2048
