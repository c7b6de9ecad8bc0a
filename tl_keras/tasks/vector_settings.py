"""Settings of the runs that learn vectors of texts: sentence similarity and retrieval."""

from __future__ import annotations

import dataclasses

from tl_keras.errors import UserError
from tl_keras.options import RARE, data_setting, learning_setting, model_setting
from tl_keras.tasks.settings import (
    FILES,
    POOLINGS,
    HeadSettings,
    TableSettings,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorSettings(TableSettings):
    """Of tasks whose model gives vectors."""

    dimensions: int | None = model_setting(
        None,
        help="Project the vectors to this many dimensions, by a learned matrix. Default: the encoder's width.",
        panel=RARE,
    )
    whiten: str = model_setting(
        "auto",
        help="Whiten the vectors of the training texts before training: yes, no, or auto (if the encoder's makers suggest it and there are "
        "1,000 texts).",
        choices=("auto", "yes", "no"),
        panel=RARE,
    )
    lexical_weight: str | None = model_setting(
        None,
        help="Weight of shared words and characters (TF-IDF) in the similarity: 0 to 1, or auto for the best on validation. Helps small "
        "encoders. Default: auto for a bi-encoder of sentence-similarity; for retrieval only where the encoder's makers suggest it.",
        panel=RARE,
    )

    def __post_init__(self):
        super().__post_init__()
        try:
            known = self.lexical_weight in (None, "auto") or 0.0 <= float(self.lexical_weight) < 1.0
        except ValueError:
            known = False
        if not known:
            raise UserError(f"--lexical-weight must be auto, or at least 0 and below 1, not {self.lexical_weight}.")

    @property
    def projection(self) -> int | str | None:
        """Width of the matrix on top, `"same"` as the encoder's, or `None`: without one, a frozen encoder could learn nothing."""
        return self.dimensions or ("same" if self.transfer == "freeze" else None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceSimilaritySettings(VectorSettings, HeadSettings):
    """Of `sentence-similarity`."""

    text_pair: str = data_setting("text_pair", help="Column with the second text.")
    label: str = data_setting("score", help="Column with the score, a number.")
    score_range: tuple[float, float] | None = data_setting(
        None, help="Lowest and highest possible score, e.g. 0 5. Default: those in the training file."
    )
    architecture: str = model_setting(
        "bi-encoder",
        help="bi-encoder (a vector for each text, compared by cosine) or cross-encoder (both texts read together).",
        choices=("bi-encoder", "cross-encoder"),
    )
    loss: str = learning_setting(
        "cosine",
        help="Loss of a bi-encoder: cosine or ranking (graded scores), or contrastive (alike or not).",
        choices=("cosine", "ranking", "contrastive"),
    )
    pooling: str | None = model_setting(
        None,
        help="How a text's vector is made: cls, mean or max. Default: what the encoder was made for, else mean for a bi-encoder and cls for a cross-encoder.",
        choices=POOLINGS,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.towers and self.hidden:
            raise UserError("a bi-encoder has no head, so --hidden means nothing to it; leave it out.")
        for name, given in (
            ("dimensions", self.dimensions),
            ("lexical_weight", self.lexical_weight),
            ("whiten", self.whiten == "yes"),
        ):
            if not self.towers and given:
                raise UserError(
                    f"a cross-encoder gives no vectors, so --{name.replace('_', '-')} means nothing to it; leave it out."
                )

    @property
    def towers(self) -> bool:
        """Whether each text gets a vector of its own."""
        return self.architecture == "bi-encoder"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalSettings(VectorSettings):
    """Of `retrieval`."""

    train: str = data_setting(help=FILES + " Or .json in SQuAD's format.")
    text: str = data_setting("question", help="Column with the question.")
    text_pair: str = data_setting("document", help="Column with the document that answers it.")
    scale: float = learning_setting(20.0, help="Factor on the cosines in the loss (inverse temperature).", panel=RARE)
    pooling: str | None = model_setting(
        None,
        help="How a text's vector is made: cls, mean, max, or mix or mix-cls (a learned mix of all blocks). Default: what the encoder was "
        "made for, else mean.",
        choices=POOLINGS,
    )
    batch_size: int = learning_setting(
        32, help="Pairs in a batch; also how many documents a question chooses from.", least=1
    )
    seq_length: int = model_setting(256, help="Longest input in tokens; longer ones are cut.")
