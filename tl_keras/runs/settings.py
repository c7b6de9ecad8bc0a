"""Everything a training run can be told: one class for each task; the command line's options are made from the same fields.

Nothing here imports TensorFlow, so that a slip in a setting costs no waiting.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, ClassVar

from tl_keras.errors import UserError
from tl_keras.training.cluster import STRATEGIES
from tl_keras.transfer.plan import MODES, Transfer, check_mode, interval, parse_rates
from tl_keras.vectors.read import looks_like_vectors
from tl_keras.vectors.ways import way

DEFAULT_ENCODER = "ko-en-mini"
"""The one that comes with the package: nothing to download."""

POOLINGS = ("cls", "mean", "max", "mix", "mix-cls")
_REQUIRED = object()


def setting(default: Any = _REQUIRED, *, help: str, choices: tuple[str, ...] = (), least: int | None = None, **how):
    """A field of a settings class.

    Args:
        default: without one, the user must give it.
        help: one line for `--help`.
        choices: the values it may take.
        least: its lowest value.
        **how: `panel` of `--help` it stands in; `metavar`.
    """
    metadata = {"help": help, "choices": choices, "least": least, **how}
    return dataclasses.field(**({} if default is _REQUIRED else {"default": default}), metadata=metadata)


_data, _model, _learning, _run = (partial(setting, panel=name) for name in ("Data", "Model", "Learning", "Run"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What the runs of all tasks can be told. `None` means: chosen by the run, and written down in `config.json`."""

    train: str = _data(help="Training file.")
    out: str = _run(help="Run folder to write.")
    encoder: str = _model(
        DEFAULT_ENCODER, help="Preset, TF Hub or Kaggle URL, .tar.gz or folder with encoder/ and preprocess/."
    )
    preprocessor: str | None = _model(None, help="Preprocessing module, where the encoder's is not known.")
    validation: str | None = _data(None, help="File to validate on.")
    validation_split: float = _data(0.1, help="Share of the training file to validate on, where no file is given.")
    encoding: str = _data("utf-8", help="Of the files.")
    limit: int | None = _data(None, help="Train on so many examples only, drawn at random.", least=1)

    transfer: str = _learning(
        "fine-tune",
        help="freeze (train the head only), fine-tune (everything), top-1, top-2, ... (so many upper blocks and the head), or "
        "gradual (the head first, then one block more at a time, from the top).",
    )
    unfreeze_every: str | None = _learning(
        None, help='gradual: between two blocks, e.g. "2 epochs" or "200 steps". Default: 1 epoch.'
    )
    layer_decay: float = _learning(
        1.0, help="Each block learns at this share of the rate of the block above; 1 for all alike."
    )
    rate: list[str] | None = _learning(  # noqa: RUF009
        None,
        help='Share of the learning rate for a part, e.g. embeddings=0.1, "block *=0.5", head=2. Can be repeated.',
        metavar="PART=SHARE",
    )
    layers: int | None = _model(
        None, help="Use the encoder's first so many blocks only; the rest is not saved.", least=1
    )
    seq_length: int = _model(128, help="Longest input in pieces; longer ones are cut.")

    epochs: int | None = _learning(None, help="Default: by the number of examples and by transfer.", least=1)
    batch_size: int = _learning(32, help="Examples in a batch.", least=1)
    learning_rate: float | None = _learning(None, help="Peak rate. Default: by encoder and transfer.")
    scale_learning_rate: str = _learning(
        "none",
        help="Of the rate, to the batch size: none, linear (k times 32, k times the rate) or sqrt.",
        choices=("none", "linear", "sqrt"),
    )
    patience: int | None = _learning(None, help="Stop after so many epochs without a better validation score.")
    seed: int = _learning(0, help="Of split, shuffling, head and dropout.")
    strategy: str = _run("auto", help=f"{', '.join(STRATEGIES)}: see docs/distributed.md.", choices=STRATEGIES)
    mixed_precision: bool = _run(False, help="Compute the head in half precision; the encoder stays as it was saved.")
    steps_per_execution: int = _run(1, help="Batches for each call of the training function; more for TPUs.", least=1)
    resume: bool = _run(False, help="Write checkpoints; go on from the newest one of an interrupted run.")
    checkpoint_every: int = _run(
        500, help="With --resume: also after so many steps, not only after each epoch; 0 for never.", least=0
    )
    overwrite: bool = _run(False, help="Replace what is there.")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, choices, least = getattr(self, field.name), field.metadata["choices"], field.metadata["least"]
            if value is None:
                continue
            if choices and value not in choices:
                raise UserError(f"{option(field)} {value!r} is not known; choose one of: {', '.join(choices)}.")
            if least is not None and any(v < least for v in (value if isinstance(value, list) else [value])):
                raise UserError(f"{option(field)} must be at least {least}, not {value}.")
        check_mode(self.mode)
        interval(self.unfreeze_every)
        parse_rates(self.rate)

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
        return Transfer(self.mode, self.unfreeze_every, self.layer_decay, parse_rates(self.rate))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _HeadSettings(RunSettings):
    """Of tasks with a head of their own on the encoder."""

    dropout: float = _model(0.1, help="Before the head.")
    hidden: list[int] | None = _model(  # noqa: RUF009
        None, help="Width of a dense layer in the head. Can be repeated. Default: none, a linear head.", least=1
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WordVectorSettings(_HeadSettings):
    """Of tasks that can also be learned on word vectors, and on those of a biLM."""

    RANDOM_VECTORS: ClassVar[str] = "random"
    NO_VECTORS: ClassVar[str] = "none"

    encoder: str = _model(
        DEFAULT_ENCODER,
        help="Preset, TF Hub or Kaggle URL, .tar.gz or folder with encoder/ and preprocess/; or word vectors: a file (.vec, .txt, .bin), or "
        "random; none with --elmo alone.",
    )
    transfer: str = _learning(
        "fine-tune",
        help="freeze (train the head only), fine-tune (everything), top-1, top-2, ... (so many upper blocks and the head), or "
        "gradual (the head first, then one block more at a time, from the top). Word vectors: init (as fine-tune), freeze, or slow (they "
        "learn at a tenth of the rate).",
    )
    recurrent: str = _model(
        "auto",
        help="What reads the encoder's vectors in order, in both directions: lstm, gru or none. Default: lstm for word vectors, else none.",
        choices=("auto", "lstm", "gru", "none"),
    )
    elmo: str | None = _model(
        None, help="biLM of pretrain bilm, or TF Hub's elmo/3; its vectors, frozen, are joined to word vectors."
    )
    elmo_at: str = _model(
        "input",
        help="Where: at the input of the recurrent network, at its output, or both.",
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
        return dataclasses.replace(plan, rates={**way("slow").rates, **plan.rates}) if self.transfer == "slow" else plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class _TableSettings(RunSettings):
    """Of tasks that read CSV and TSV files."""

    text: str = _data("text", help="Column with the text.")
    text_pair: str | None = _data(None, help="Column with the second text, for pair tasks.")
    quoting: str = _data(
        "auto", help="auto, standard, or none (quotes are ordinary characters).", choices=("auto", "standard", "none")
    )
    on_empty: str = _data(
        "drop", help="Rows with an empty text: drop, keep or error.", choices=("drop", "keep", "error")
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextClassificationSettings(_TableSettings, WordVectorSettings):
    """Of `text-classification`."""

    label: str = _data("label", help="Column with the label.")
    label_separator: str | None = _data(None, help="Multi-label data: what stands between the labels in a cell.")
    pooling: str | None = _model(
        None,
        help="How a text's vector is made: cls, mean, max, or mix or mix-cls (a learned mix of all blocks). Default: what the encoder was "
        "made for, else cls.",
        choices=POOLINGS,
    )
    class_weight: str = _learning(
        "none", help="none, or balanced: rare classes count as much as common ones.", choices=("none", "balanced")
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenClassificationSettings(WordVectorSettings):
    """Of `token-classification`."""

    format: str = _data(
        "auto",
        help="Of the files: auto, conll, characters (KLUE's) or jsonl.",
        choices=("auto", "conll", "characters", "jsonl"),
    )
    scheme: str = _data(
        "auto", help="Of the tags: auto, bio, bioes or plain.", choices=("auto", "bio", "bioes", "plain")
    )
    word_column: int = _data(0, help="CoNLL: column of the words, from 0.")
    tag_column: int = _data(-1, help="CoNLL: column of the tags; -1 is the last.")
    label_pieces: str = _model(
        "auto",
        help="Which pieces carry tags: first (of each word), all, or auto: by the data.",
        choices=("auto", "first", "all"),
    )
    overlaps: str = _data(
        "error", help="Entities that overlap: error, or keep the longest.", choices=("error", "longest")
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionAnsweringSettings(_HeadSettings):
    """Of `question-answering`."""

    seq_length: int = _model(128, help="Pieces in a window: question and part of the context.")
    normalisation: str = _model(
        "auto",
        help="Of answers before they are compared: squad (words), korquad (characters), or auto: by script.",
        choices=("auto", "squad", "korquad"),
    )
    max_question_length: int | None = _model(
        None, help="In pieces; longer questions are cut. Default: 64, or half of --seq-length."
    )
    max_answer_length: int = _model(30, help="Longest answer given, in pieces.")
    overlap: int | None = _model(
        None, help="Pieces that windows over a long context share. Default: a quarter, but at least 30."
    )
    null_threshold: float | None = _model(
        None,
        help="With impossible questions: how surely none must be right to be given. Default: the best on validation.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _VectorSettings(_TableSettings):
    """Of tasks whose model gives vectors."""

    dimensions: int | None = _model(
        None, help="Vectors of so many numbers, by a matrix that is learned. Default: the encoder's width."
    )
    whiten: str = _model(
        "auto",
        help="Begin with vectors that the common direction of the training texts is taken out of: yes, no, or auto: if the encoder's makers "
        "suggest it and there are 1,000 texts.",
        choices=("auto", "yes", "no"),
    )
    lexical_share: str | None = _model(
        None,
        help="How much of the likeness is shared words and characters (TF-IDF): 0 to 1, or auto for what is best on validation. Helps small "
        "encoders. Default: auto for a bi-encoder of sentence-similarity, 0 for retrieval.",
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
class SentenceSimilaritySettings(_VectorSettings, _HeadSettings):
    """Of `sentence-similarity`."""

    text_pair: str = _data("text_pair", help="Column with the second text.")
    label: str = _data("score", help="Column with the score, a number.")
    score_range: tuple[float, float] | None = _data(
        None, help="Lowest and highest possible score, e.g. 0 5. Default: those in the training file."
    )
    architecture: str = _model(
        "bi-encoder",
        help="bi-encoder (a vector for each text, compared by cosine) or cross-encoder (both texts read together).",
        choices=("bi-encoder", "cross-encoder"),
    )
    loss: str = _learning(
        "cosine",
        help="Of a bi-encoder: cosine or ranking (graded scores), or contrastive (alike or not).",
        choices=("cosine", "ranking", "contrastive"),
    )
    pooling: str | None = _model(
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

    train: str = _data(help="Training file: CSV or TSV with a header line, or .json as SQuAD's.")
    text: str = _data("question", help="Column with the question.")
    text_pair: str = _data("document", help="Column with the document that answers it.")
    scale: float = _learning(20.0, help="What cosines are multiplied by in the loss.")
    pooling: str = _model(
        "mean",
        help="How a text's vector is made: cls, mean, max, or mix or mix-cls (a learned mix of all blocks).",
        choices=POOLINGS,
    )
    batch_size: int = _learning(32, help="Pairs in a batch; also how many documents a question chooses from.", least=1)
    seq_length: int = _model(256, help="Longest input in pieces; longer ones are cut.")


def option(field: dataclasses.Field) -> str:
    """The command line's name of a setting.

    Example:
        >>> option(dataclasses.fields(RunSettings)[1])
        '--out'
    """
    return f"--{field.name.replace('_', '-')}"
