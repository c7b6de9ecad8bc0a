"""Everything that the pre-training of a BERT or of a GPT can be told."""

from __future__ import annotations

from dataclasses import dataclass

from tl_keras.errors import UserError
from tl_keras.pretraining.base_settings import PretrainingSettings
from tl_keras.pretraining.schedule import parse_lengths
from tl_keras.settings import data_setting, learning_setting, model_setting, run_setting

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
