"""Everything that a BERT pre-training run can be told."""

from __future__ import annotations

from dataclasses import dataclass

from tl_keras.errors import UserError
from tl_keras.pretraining.base_settings import PretrainingSettings

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class BertSettings(PretrainingSettings):
    """The settings of `pretrain_bert`: those of `PretrainingSettings`, and these.

    Attributes:
        tokens: Folder of token files, written there or reused; by default `out`/tokens.
        vocab: A `vocab.txt` to use; by default a vocabulary is learned.
        vocab_size: Tokens to learn.
        alphabet_size: Characters to keep; by default a sixth of `vocab_size`.
        lower_case: Make an uncased vocabulary.
        lowercase_fraction: Fraction of documents that are lower-cased for a cased encoder, so that it meets both.
        init: Encoder pair to go on from.
        init_embeddings: Vectors of the tokens (`.npy` or word2vec text), or `skip-gram` to learn them first.
        init_deviation: Standard deviation those vectors are scaled to.
        layers, width, heads, intermediate, max_positions: Shape of a new encoder.
        finetune_dropout: Share that the exported pair drops when it is fine-tuned.
        precision: `float32`, or `bfloat16` for matrix products in bfloat16 on float32 weights.
        lengths: Length schedule, pairs (fraction of the run, row length).
        weight_decay: Of the optimizer.
        mask_fraction, mask, random, whole_words: See `Masking`.
    """

    kind = "bert"
    fractions = ("heldout_fraction", "dropout", "finetune_dropout")

    tokens: str | None = None
    vocab: str | None = None
    vocab_size: int = 8000
    alphabet_size: int | None = None
    lowercase_fraction: float = 0.0
    init: str | None = None
    init_embeddings: str | None = None
    init_deviation: float = 0.04
    heads: int | None = None
    intermediate: int | None = None
    max_positions: int = 512
    finetune_dropout: float = 0.1
    precision: str = "float32"
    lengths: tuple[tuple[float, int], ...] = ((1.0, 128),)
    weight_decay: float = 0.01
    mask_fraction: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.corpus and not self.tokens:
            raise UserError("give text with --corpus FILE, or token files made earlier with --tokens FOLDER")
        if self.init and self.init_embeddings:
            raise UserError("--init brings its own embeddings; leave out --init-embeddings")
        if self.precision not in PRECISIONS:
            raise UserError(f"--precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if not 0.0 <= self.lowercase_fraction <= 1.0:
            raise UserError(f"--lowercase-fraction must lie between 0 and 1, not at {self.lowercase_fraction}")
        if min((length for _, length in self.lengths), default=8) < 8:
            raise UserError("rows of fewer than 8 tokens hold too little to predict from; give longer ones")
        if not self.init and max((length for _, length in self.lengths), default=0) > self.max_positions:
            raise UserError(f"--length-schedule asks for longer rows than --max-positions {self.max_positions}")
