"""Everything that a biLM pre-training run can be told."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from tl_keras.errors import UserError

TOKENS = ("chars", "words")
DEFAULT_FILTERS = ((1, 16), (2, 32), (3, 64), (4, 64), (5, 64), (6, 64))


@dataclass(frozen=True)
class BilmSettings:
    """The settings of `pretrain_bilm`; `config.json` of a run holds them, and `--resume` reads them back.

    Attributes:
        out: Run folder; becomes a SavedModel.
        corpus: UTF-8 files, one sentence per line.
        licences: What is known of each file's licence, for the README; in the order of `corpus`.
        lower_case: Make all words small.
        vocab_size: Words to predict; by default all that occur `min_count` times, at most 30,000.
        min_count: Rarer words are predicted as `<UNK>`.
        heldout_share: Share of documents (or independent lines) kept back for measuring.
        tokens: `chars`: a word is read by its characters (bytes of UTF-8); `words`: by its place in the vocabulary.
        vectors: For `words`: word vectors to start from, a file that `tl_keras.read_vectors` reads.
        width: Of the token vectors and of each direction's states; ELMo vectors are twice as wide.
        layers: LSTM layers, at least two.
        cells: Cells of each LSTM, projected to `width` at each step. By default there are `width` cells and no
            projection, which keeps TensorFlow's fused LSTM kernel.
        char_width: Of the vector of a character.
        filters: Of the character CNN: pairs (characters, number of filters).
        highways: Highway layers above them.
        max_chars: Bytes of a word that are read, its two end marks included.
        max_length: Words of a row; longer sentences are cut into several.
        samples: Words that the sampled softmax draws for each batch; 0 for the full softmax; None: full up to a
            vocabulary of 5,000, above it 2,048 samples.
        dropout: Share of dropped units between layers while training.
        steps, minutes: Length of the run, one of the two.
        batch_tokens: Words in a batch, padding included.
        peak_rate, warmup_steps, clip_norm: Of the optimizer.
        checkpoint_steps, history_steps, heldout_steps: Steps between these.
        name: Of the model, for the README.
        seed: Of everything.
    """

    out: str
    corpus: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    lower_case: bool = False
    vocab_size: int | None = None
    min_count: int = 2
    heldout_share: float = 0.01
    tokens: str = "chars"
    vectors: str | None = None
    width: int = 256
    layers: int = 2
    cells: int | None = None
    char_width: int = 16
    filters: tuple[tuple[int, int], ...] = DEFAULT_FILTERS
    highways: int = 1
    max_chars: int = 48
    max_length: int = 64
    samples: int | None = None
    dropout: float = 0.1
    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 2048
    peak_rate: float = 2e-3
    warmup_steps: int = 100
    clip_norm: float = 5.0
    checkpoint_steps: int = 200
    history_steps: int = 50
    heldout_steps: int = 400
    name: str | None = None
    seed: int = 0

    def __post_init__(self):
        if not self.corpus:
            raise UserError("give text with --corpus FILE")
        if self.licences and len(self.licences) != len(self.corpus):
            raise UserError(
                f"{len(self.licences)} --licence for {len(self.corpus)} --corpus: give one for each, in order"
            )
        if self.tokens not in TOKENS:
            raise UserError(f"--tokens must be one of {', '.join(TOKENS)}, not {self.tokens!r}")
        if self.vectors and self.tokens != "words":
            raise UserError("--vectors are the start of word embeddings: give --tokens words with them")
        for name in ("heldout_share", "dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"--{name.replace('_', '-')} must be at least 0 and below 1, not {getattr(self, name)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
        if self.tokens == "chars" and (not self.filters or any(min(pair) < 1 for pair in self.filters)):
            raise UserError("--filters needs pairs WIDTH:NUMBER of 1 or more, for instance 1:16,2:32,3:64")
        if self.batch_tokens < self.max_length + 2:
            raise UserError(
                f"--batch-tokens {self.batch_tokens} is less than one row of --max-length {self.max_length} and its "
                "two ends"
            )

    def as_dict(self) -> dict:
        """Plain values for `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> BilmSettings:
        """The settings that `as_dict` gave, read back from JSON."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {name: value for name, value in values.items() if name in known}
        values["filters"] = tuple((int(width), int(number)) for width, number in values["filters"])
        return cls(**{**values, "corpus": tuple(values["corpus"]), "licences": tuple(values["licences"])})

    def sample_count(self, vocabulary_size: int) -> int:
        """How many words the softmax draws for each batch; 0 for all of them."""
        if self.samples is not None:
            return self.samples
        return 0 if vocabulary_size <= 5000 else 2048


_LEAST = {
    "vocab_size": 4, "min_count": 1, "width": 1, "layers": 2, "cells": 1, "char_width": 1, "highways": 0,
    "max_chars": 3, "max_length": 1, "samples": 0, "warmup_steps": 0, "checkpoint_steps": 1, "history_steps": 1,
    "heldout_steps": 1,
}  # fmt: skip


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


def resumed_settings(out: str | Path, steps: int | None = None, minutes: float | None = None) -> BilmSettings:
    """The settings of an earlier run, to resume it; its length may be changed.

    Args:
        out: The run folder.
        steps: New length in steps.
        minutes: New length in minutes.

    Raises:
        UserError: The folder holds no biLM run.
    """
    path = Path(out) / "config.json"
    if not path.is_file():
        raise UserError(f"{out} holds no config.json: there is no run to resume")
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("kind") != "bilm":
        raise UserError(f"{out} holds a run of another kind, not of a biLM; choose another --out")
    settings = BilmSettings.from_dict(config | {"out": str(out)})
    if steps or minutes:
        settings = dataclasses.replace(settings, steps=steps, minutes=minutes)
    return settings
