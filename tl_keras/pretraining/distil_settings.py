"""Everything that a distillation can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tl_keras.errors import UserError
from tl_keras.pretraining.base_settings import PretrainingSettings


@dataclass(frozen=True, kw_only=True)
class DistilSettings(PretrainingSettings):
    """The settings of a distillation: those of `PretrainingSettings`, and these.

    Attributes:
        teacher: name of the encoder to learn from.
        layers: the teacher's blocks, from 0, that the student begins as.
        seq_length: longest row, in tokens.
        prompts: pairs (prompt, fraction of the rows that begin with it).
        token, middle, text_vector, likeness, words, temperature: see `LossWeights`, whose `text` is `text_vector` here: `text` is a column.
        learn_embeddings: whether the embeddings learn as well.
        masked_rows, mask_fraction: fraction of the rows in which tokens are masked for the student, and of their tokens.
        weight_decay: of the optimizer.
    """

    kind = "distil"
    least: ClassVar[dict[str, int]] = {
        "batch_tokens": 1,
        "warmup_steps": 0,
        "checkpoint_steps": 1,
        "history_steps": 1,
        "heldout_steps": 1,
    }
    fractions = ("heldout_fraction",)
    checked_later = ("layers",)

    teacher: str
    layers: tuple[int, ...] = ()
    seq_length: int = 256
    prompts: tuple[tuple[str, float], ...] = ()
    token: float = 1.0
    middle: float = 1.0
    text_vector: float = 2.0
    likeness: float = 0.5
    words: float = 0.1
    temperature: float = 0.05
    learn_embeddings: bool = False
    masked_rows: float = 0.5
    mask_fraction: float = 0.15
    weight_decay: float = 0.01
    batch_tokens: int = 1536
    peak_learning_rate: float = 1.2e-3
    warmup_steps: int = 50

    def __post_init__(self):
        super().__post_init__()
        if self.seq_length < 8:
            raise UserError("rows of fewer than 8 tokens hold too little to learn from; give a longer --seq-length")
        for name in ("masked_rows", "mask_fraction"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"--{name.replace('_', '-')} must lie between 0 and 1, not at {getattr(self, name)}")

    def as_dict(self) -> dict:
        """Plain values for `config.json`; what the teacher decides is not among them."""
        return {
            name: value for name, value in super().as_dict().items() if name not in {"vocab_size", "width", "dropout"}
        }
