"""What the training runs of one task can be told: one class for each task, beside what all can be told (`settings`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from tl_keras.errors import UserError
from tl_keras.options import RARE, data_setting, learning_setting, model_setting
from tl_keras.tasks.settings import (
    POOLINGS,
    HeadSettings,
    RunSettings,
    TableSettings,
    WordVectorTaskSettings,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextClassificationSettings(TableSettings, WordVectorTaskSettings):
    """Of `text-classification`."""

    label: str = data_setting(
        "label", help="Column with the label; or several columns of 0 and 1 with commas between, for multi-label data."
    )
    label_separator: str | None = data_setting(None, help="Multi-label data: separator between the labels in a cell.")
    pooling: str | None = model_setting(
        None,
        help="How a text's vector is made: cls, mean, max, or mix or mix-cls (a learned mix of all blocks). Default: what the encoder was "
        "made for, else cls.",
        choices=POOLINGS,
    )
    transfer: str = learning_setting(
        "fine-tune",
        help="freeze (train the head only), fine-tune (everything), top-1, top-2, ... (this many upper blocks and the head), gradual (the "
        "head first, then one block more at a time, from the top), or few-shot (for up to some dozens of labels a class). Word vectors: init "
        "(as fine-tune), freeze, or slow (they learn at a tenth of the rate).",
    )
    few_shot_method: str = learning_setting(
        "auto",
        help="few-shot: nearest-mean, logistic, contrastive, or auto: by the number of labels.",
        choices=("auto", "nearest-mean", "logistic", "contrastive"),
        panel=RARE,
    )
    describe: list[str] | None = data_setting(  # noqa: RUF009
        None,
        help='few-shot: what a class means, "LABEL=a place, a city or a country", or a label that says so itself. Give one for each class.',
    )
    unlabelled: str | None = data_setting(
        None,
        help="few-shot: file with texts of the same kind without labels, some dozens or more: .txt with a text a line, or a table with the "
        "column --text.",
        panel=RARE,
    )
    per_class: int | None = data_setting(
        None, help="Train on this many examples of each class only, drawn at random.", least=1
    )
    class_weight: str = learning_setting(
        "none", help="none, or balanced: rare classes count as much as common ones.", choices=("none", "balanced")
    )

    def __post_init__(self):
        super().__post_init__()
        if self.transfer != "few-shot":
            if self.few_shot_method != "auto":
                raise UserError("--few-shot-method says how few-shot learning works; give --transfer few-shot with it.")
            for name, given in (("--unlabelled", self.unlabelled), ("--describe", self.describe)):
                if given:
                    raise UserError(
                        f"{name} is for few-shot learning; give --transfer few-shot with it, or leave it out."
                    )
            return
        described_labels(self.describe or [])
        refused = {
            "--label-separator": self.label_separator,
            "--hidden": self.hidden,
            "--recurrent": self.recurrent not in ("auto", "none"),
            "--encoder with word vectors": self.on_word_vectors,
            "--resume": self.resume,
        }
        for name, given in refused.items():
            if given:
                raise UserError(
                    f"--transfer few-shot works out one matrix on an encoder's vectors, so {name} means nothing to it; leave it out."
                )

    @property
    def mode(self) -> str:
        """The way of transfer, by the name that `Transfer` knows."""
        return "freeze" if self.transfer == "few-shot" else super().mode


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZeroShotSettings(TextClassificationSettings):
    """Of `zero-shot-classification`."""

    not_options: ClassVar[tuple[str, ...]] = (
        "label_separator",
        "few_shot_method",
        "describe",
        "unlabelled",
        "recurrent",
        "elmo",
        "elmo_at",
    )

    text: str = data_setting("sentence1", help="Column with the premise.")
    text_pair: str = data_setting("sentence2", help="Column with the hypothesis.")
    label: str = data_setting("gold_label", help="Column with the label: entailment, neutral, contradiction.")
    template: str = model_setting(
        "This text is about {}.",
        help="Sentence that a candidate label is put into, at {}; in the language of the texts.",
    )

    def __post_init__(self):
        super().__post_init__()
        if "{}" not in self.template:
            raise UserError(f"--template {self.template!r} has no place for a label: write {{}} where it belongs.")
        if self.transfer == "few-shot":
            raise UserError("entailment is not learned from few pairs; choose another --transfer.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenClassificationSettings(WordVectorTaskSettings):
    """Of `token-classification`."""

    format: str = data_setting(
        "auto",
        help="Format of the files: auto, conll, characters (KLUE's), sentences (a sentence, a tab, its tags) or jsonl (also .json, "
        ".parquet).",
        choices=("auto", "conll", "characters", "sentences", "jsonl"),
    )
    scheme: str = data_setting(
        "auto", help="Tagging scheme: auto, bio, bioes or plain.", choices=("auto", "bio", "bioes", "plain"), panel=RARE
    )
    word_column: int | None = data_setting(
        None, help="CoNLL: column of the words, from 0. Default: the first without numbers and tags.", panel=RARE
    )
    tag_column: int | None = data_setting(
        None, help="CoNLL: column of the tags; -1 is the last. Default: that, or the only one with tags.", panel=RARE
    )
    label_tokens: str = model_setting(
        "auto",
        help="Which tokens carry tags: first (of each word), all, or auto: by the data.",
        panel=RARE,
        choices=("auto", "first", "all"),
    )
    overlaps: str = data_setting(
        "error", help="Entities that overlap: error, or keep the longest.", choices=("error", "longest"), panel=RARE
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionAnsweringSettings(HeadSettings):
    """Of `question-answering`."""

    train: str = data_setting(
        help="Training questions: .json in SQuAD's format, or .jsonl, .parquet with the columns question, context, answers; a pattern in "
        "quotes, or several with commas between."
    )
    validation: str | None = data_setting(None, help="Questions to validate on, of either kind.")
    seq_length: int = model_setting(128, help="Tokens in a window: question and part of the context.")
    normalisation: str = model_setting(
        "auto",
        help="How answers are normalised before they are compared: squad (words), korquad (characters), or auto: by script.",
        panel=RARE,
        choices=("auto", "squad", "korquad"),
    )
    max_question_length: int | None = model_setting(
        None, help="Longest question in tokens; longer ones are cut. Default: 64, or half of --seq-length.", panel=RARE
    )
    max_answer_length: int = model_setting(30, help="Longest answer given, in tokens.", panel=RARE)
    overlap: int | None = model_setting(
        None,
        help="Tokens by which the windows over a long context overlap. Default: a quarter, but at least 30.",
        panel=RARE,
    )
    null_threshold: float | None = model_setting(
        None,
        help="With unanswerable questions: threshold above which no answer is given. Default: the best on validation.",
        panel=RARE,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextGenerationSettings(RunSettings):
    """Of `text-generation`."""

    not_options: ClassVar[tuple[str, ...]] = (
        "encoder",
        "preprocessor",
        "layers",
        "transfer",
        "unfreeze_every",
        "layer_decay",
        "lr_multiplier",
        "frozen_encoders",
    )

    train: str = data_setting(help="Training file: .txt with a text a line, or CSV or TSV with a header line.")
    model: str = model_setting(
        help="Language model to go on from: a run of pretrain gpt or of text-generation, a KerasHub preset or a Hugging Face folder."
    )
    text: str = data_setting("text", help="Column with the text.")
    prompt: str | None = data_setting(None, help="Column with the prompt; the model learns to go on from it.")
    completion: str = data_setting("completion", help="With --prompt: column with the text to learn after it.")
    quoting: str = data_setting(
        "auto",
        help="Quoting of cells: auto, standard, or none (quotes are ordinary characters).",
        choices=("auto", "standard", "none"),
    )
    seq_length: int = model_setting(
        128, help="Tokens of a row; a longer text goes on in the next one, a longer completion is cut.", least=2
    )
    encoder: str | None = model_setting(None, help="")


def described_labels(words: Sequence[str]) -> dict[str, str]:
    """Labels and what they mean, as they stand on the command line.

    Args:
        words: each a label that describes itself, or a label and its description with = between.

    Raises:
        UserError: a label twice, or a description of none.

    Example:
        >>> described_labels(["sports", "LOC=a place"])
        {'sports': 'sports', 'LOC': 'a place'}
    """
    pairs = [word.split("=", 1) if "=" in word else (word, word) for word in words]
    named = {name.strip(): description for name, description in pairs}
    if "" in named:
        raise UserError(f"{named['']!r} describes no label: write one before the =.")
    if len(named) < len(pairs):
        raise UserError("a label is named twice; give each once.")
    return named
