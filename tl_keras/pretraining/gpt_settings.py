"""Everything that a GPT pre-training run can be told."""

from __future__ import annotations

from dataclasses import dataclass

from tl_keras.errors import UserError
from tl_keras.pretraining.base_settings import PretrainingSettings


@dataclass(frozen=True, kw_only=True)
class GptSettings(PretrainingSettings):
    """The settings of `pretrain_gpt`: those of `PretrainingSettings`, and these.

    Attributes:
        vocab_size: Tokens of the byte-level vocabulary to learn.
        heads: Attention heads; by default one for every 64 units of width.
        max_length: Tokens of a row; also the longest text that the model can read or write.
        init_embeddings: Vectors of the tokens (`.npy` or word2vec text), or `skip-gram` to learn them first.
        init_deviation: Standard deviation those vectors are scaled to.
        weight_decay: Of the optimizer.
    """

    kind = "gpt"
    least = {**PretrainingSettings.least, "heads": 1, "max_length": 8}  # noqa: RUF012

    vocab_size: int = 8000
    heads: int | None = None
    max_length: int = 128
    init_embeddings: str | None = None
    init_deviation: float = 0.04
    weight_decay: float = 0.01

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
