"""What the training runs of one task can be told: one class for each task, beside what all can be told (`settings`)."""

from __future__ import annotations

import dataclasses

from tl_keras.errors import UserError
from tl_keras.tasks.settings import (
    POOLINGS,
    HeadSettings,
    RunSettings,
    WordVectorSettings,
    data_setting,
    learning_setting,
    model_setting,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _TableSettings(RunSettings):
    """Of tasks that read CSV and TSV files."""

    text: str = data_setting("text", help="Column with the text.")
    text_pair: str | None = data_setting(None, help="Column with the second text, for pair tasks.")
    quoting: str = data_setting(
        "auto", help="auto, standard, or none (quotes are ordinary characters).", choices=("auto", "standard", "none")
    )
    on_empty: str = data_setting(
        "drop", help="Rows with an empty text: drop, keep or error.", choices=("drop", "keep", "error")
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextClassificationSettings(_TableSettings, WordVectorSettings):
    """Of `text-classification`."""

    label: str = data_setting("label", help="Column with the label.")
    label_separator: str | None = data_setting(None, help="Multi-label data: what stands between the labels in a cell.")
    pooling: str | None = model_setting(
        None,
        help="How a text's vector is made: cls, mean, max, or mix or mix-cls (a learned mix of all blocks). Default: what the encoder was "
        "made for, else cls.",
        choices=POOLINGS,
    )
    class_weight: str = learning_setting(
        "none", help="none, or balanced: rare classes count as much as common ones.", choices=("none", "balanced")
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenClassificationSettings(WordVectorSettings):
    """Of `token-classification`."""

    format: str = data_setting(
        "auto",
        help="Of the files: auto, conll, characters (KLUE's) or jsonl.",
        choices=("auto", "conll", "characters", "jsonl"),
    )
    scheme: str = data_setting(
        "auto", help="Of the tags: auto, bio, bioes or plain.", choices=("auto", "bio", "bioes", "plain")
    )
    word_column: int = data_setting(0, help="CoNLL: column of the words, from 0.")
    tag_column: int = data_setting(-1, help="CoNLL: column of the tags; -1 is the last.")
    label_pieces: str = model_setting(
        "auto",
        help="Which pieces carry tags: first (of each word), all, or auto: by the data.",
        choices=("auto", "first", "all"),
    )
    overlaps: str = data_setting(
        "error", help="Entities that overlap: error, or keep the longest.", choices=("error", "longest")
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionAnsweringSettings(HeadSettings):
    """Of `question-answering`."""

    seq_length: int = model_setting(128, help="Pieces in a window: question and part of the context.")
    normalisation: str = model_setting(
        "auto",
        help="Of answers before they are compared: squad (words), korquad (characters), or auto: by script.",
        choices=("auto", "squad", "korquad"),
    )
    max_question_length: int | None = model_setting(
        None, help="In pieces; longer questions are cut. Default: 64, or half of --seq-length."
    )
    max_answer_length: int = model_setting(30, help="Longest answer given, in pieces.")
    overlap: int | None = model_setting(
        None, help="Pieces that windows over a long context share. Default: a quarter, but at least 30."
    )
    null_threshold: float | None = model_setting(
        None,
        help="With impossible questions: how surely none must be right to be given. Default: the best on validation.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _VectorSettings(_TableSettings):
    """Of tasks whose model gives vectors."""

    dimensions: int | None = model_setting(
        None, help="Vectors of so many numbers, by a matrix that is learned. Default: the encoder's width."
    )
    whiten: str = model_setting(
        "auto",
        help="Begin with vectors that the common direction of the training texts is taken out of: yes, no, or auto: if the encoder's makers "
        "suggest it and there are 1,000 texts.",
        choices=("auto", "yes", "no"),
    )
    lexical_share: str | None = model_setting(
        None,
        help="How much of the likeness is shared words and characters (TF-IDF): 0 to 1, or auto for what is best on validation. Helps small "
        "encoders. Default: auto for a bi-encoder of sentence-similarity, for retrieval only where the encoder's makers suggest shared words.",
    )

    def __post_init__(self):
        super().__post_init__()
        try:
            known = self.lexical_share in (None, "auto") or 0.0 <= float(self.lexical_share) < 1.0
        except ValueError:
            known = False
        if not known:
            raise UserError(f"--lexical-share must be auto, or at least 0 and below 1, not {self.lexical_share}.")

    @property
    def projection(self) -> int | str | None:
        """Width of the matrix on top, `"same"` as the encoder's, or `None`: without one, a frozen encoder could learn nothing."""
        return self.dimensions or ("same" if self.transfer == "freeze" else None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentenceSimilaritySettings(_VectorSettings, HeadSettings):
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
        help="Of a bi-encoder: cosine or ranking (graded scores), or contrastive (alike or not).",
        choices=("cosine", "ranking", "contrastive"),
    )
    pooling: str | None = model_setting(
        None,
        help="How a text's vector is made: cls, mean or max. Default: mean for a bi-encoder, else what the encoder was made for, or cls.",
        choices=POOLINGS,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.towers and self.hidden:
            raise UserError("a bi-encoder has no head, so --hidden means nothing to it; leave it out.")
        for name, given in (
            ("dimensions", self.dimensions),
            ("lexical_share", self.lexical_share),
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
class RetrievalSettings(_VectorSettings):
    """Of `retrieval`."""

    train: str = data_setting(help="Training file: CSV or TSV with a header line, or .json as SQuAD's.")
    text: str = data_setting("question", help="Column with the question.")
    text_pair: str = data_setting("document", help="Column with the document that answers it.")
    scale: float = learning_setting(20.0, help="What cosines are multiplied by in the loss.")
    pooling: str = model_setting(
        "mean",
        help="How a text's vector is made: cls, mean, max, or mix or mix-cls (a learned mix of all blocks).",
        choices=POOLINGS,
    )
    batch_size: int = learning_setting(
        32, help="Pairs in a batch; also how many documents a question chooses from.", least=1
    )
    seq_length: int = model_setting(256, help="Longest input in pieces; longer ones are cut.")
