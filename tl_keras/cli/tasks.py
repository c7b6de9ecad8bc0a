"""What `train`, `evaluate` and `predict` do for each task. Importing this loads no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from tl_keras.cli.commands import train_command
from tl_keras.cli.running import (
    Columns,
    Predictions,
    columns_as_trained,
    is_rows,
    read_as_trained,
    refuse_columns,
    run_settings,
)
from tl_keras.errors import UserError
from tl_keras.tasks.task_settings import (
    QuestionAnsweringSettings,
    TextClassificationSettings,
    TokenClassificationSettings,
    ZeroShotSettings,
)
from tl_keras.tasks.vector_settings import RetrievalSettings, SentenceSimilaritySettings


class Task:
    """A task's part of the command line.

    Attributes:
        train: the command of `tl-keras train`.
    """

    train: ClassVar[Callable]

    @classmethod
    def evaluate(cls, model, run: str, data: str, columns: Columns) -> Any:
        """Score a labelled file as the run's training file was read; gives the task's report."""
        raise NotImplementedError

    @classmethod
    def predict(cls, model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
        """Answer for texts; for the whole of a file where `stream` gives None."""
        raise NotImplementedError

    @classmethod
    def stream(cls, model, run: str, data: str, columns: Columns) -> dict | None:
        """How a table of any size is answered: the arguments of `predict_file`; None for a file that is no table."""
        raise NotImplementedError


class TextClassification(Task):
    """One text, or a pair of texts, to one class or to several."""

    train = train_command(
        TextClassificationSettings,
        "tl_keras.tasks.few_labels:classification_run",
        "Learn classes from a table of labelled texts, or a folder of them.",
    )

    @classmethod
    def evaluate(cls, model, run, data, columns):
        """Gives a `ClassificationReport`."""
        from tl_keras.serving.evaluate import evaluate

        return evaluate(model, read_as_trained(run, data, columns, labelled=True, classes=model.classes))

    @classmethod
    def predict(cls, model, run, texts, data, columns):
        """Columns between tabs, for the screen."""
        return _tab_separated(model, texts, model.takes_pairs, "takes")

    @classmethod
    def stream(cls, model, run, data, columns):
        """Every file is a table."""
        if not model.takes_pairs:
            refuse_columns("a model of single texts", columns, "text_pair")
        return columns_as_trained(run, columns, text_pair="text_pair" if model.takes_pairs else None)


class TokenClassification(Task):
    """Labelled spans of a text, such as named entities."""

    train = train_command(
        TokenClassificationSettings,
        "tl_keras.tasks.token_classification:TokenClassificationRun",
        "Learn spans from CoNLL columns, KLUE's characters, or JSON lines with entities.",
    )

    @classmethod
    def evaluate(cls, model, run, data, columns):
        """Gives a `TaggingReport`."""
        from tl_keras.serving.evaluate import evaluate

        refuse_columns("token-classification", columns, "text", "text_pair", "label")
        return evaluate(model, cls._read(run, data, model.labels))

    @classmethod
    def predict(cls, model, run, texts, data, columns):
        """JSON lines, in the form that `train` reads."""
        refuse_columns("token-classification", columns, "text_pair")
        if data is not None:
            texts = cls._read(run, data).texts.tolist()
        rows = zip(texts, model.entities(texts), strict=True)
        return _json_lines(({"text": text, "entities": found} for text, found in rows), "texts tagged")

    @classmethod
    def stream(cls, model, run, data, columns):
        """None for CoNLL and KLUE's characters."""
        refuse_columns("token-classification", columns, "text_pair")
        if columns.text is None and not is_rows(data):
            return None
        return columns_as_trained(run, columns)

    @staticmethod
    def _read(run, data, labels=None):
        """Read a tagged file as the run's training file was read."""
        from tl_keras.data.tagging_files import read_tagged

        config = run_settings(run)
        # The format is found anew: a run trained on CoNLL columns may well be scored on JSON lines.
        names = ("scheme", "word_column", "tag_column", "overlaps", "encoding")
        return read_tagged(data, labels=labels, **{name: config[name] for name in names if name in config})


class QuestionAnswering(Task):
    """Answers that are slices of a context."""

    train = train_command(
        QuestionAnsweringSettings,
        "tl_keras.tasks.question_answering:QuestionAnsweringRun",
        "Learn to answer from SQuAD's JSON (v1.1, v2.0, KorQuAD).",
    )

    @classmethod
    def evaluate(cls, model, run, data, columns):
        """Gives a `QuestionReport`."""
        from tl_keras.serving.evaluate import evaluate_questions

        refuse_columns("question-answering", columns, "text", "text_pair", "label")
        normalisation = run_settings(run).get("normalisation", "auto")
        return evaluate_questions(model, cls._read(run, data), normalisation=normalisation)

    @classmethod
    def predict(cls, model, run, texts, data, columns):
        """JSON lines with the question's id, where the file has one, and the answer in characters."""
        if data is None:
            if len(texts) % 2:
                raise UserError(
                    f"question-answering takes a question and its context, two by two; {len(texts)} texts given."
                )
            questions, contexts, names = texts[0::2], texts[1::2], [{} for _ in texts[0::2]]
        else:
            examples = cls._read(run, data)
            questions, contexts = examples.questions.tolist(), examples.contexts.tolist()
            names = [{"id": name} for name in examples.ids]
        rows = zip(names, questions, model.answers(questions, contexts), strict=True)
        return _json_lines(
            ({**name, "question": question, **answer} for name, question, answer in rows), "questions answered"
        )

    @classmethod
    def stream(cls, model, run, data, columns):
        """None for SQuAD's JSON."""
        if not is_rows(data):
            refuse_columns("SQuAD's JSON", columns, "text", "text_pair")
            return None
        return columns_as_trained(run, columns, "question", "context")

    @staticmethod
    def _read(run, data):
        """Read a SQuAD file in the encoding of the run's training file."""
        from tl_keras.data.squad import read_squad

        return read_squad(data, encoding=run_settings(run).get("encoding", "utf-8"))


class SentenceSimilarity(Task):
    """How alike two texts are, as a number."""

    train = train_command(
        SentenceSimilaritySettings,
        "tl_keras.tasks.sentence_similarity:SentenceSimilarityRun",
        "Learn how alike two texts are from a table of scored pairs.",
    )

    @classmethod
    def evaluate(cls, model, run, data, columns):
        """Gives a `SimilarityReport`."""
        from tl_keras.data.pairs import read_scored
        from tl_keras.serving.evaluate import evaluate_similarity

        config = run_settings(run)
        pairs = read_scored(
            data,
            columns.text or config.get("text", "text"),
            (columns.text_pair or config.get("text_pair", "text_pair")) if _takes_pairs(model) else None,
            columns.label or config.get("label", "score"),
            # A file that is only scored may go beyond the range that training saw; the correlations do not mind.
            score_range=(-1e30, 1e30) if config.get("score_range") else None,
            **_form_of_table(config, columns),
        )
        return evaluate_similarity(model, pairs)

    @classmethod
    def predict(cls, model, run, texts, data, columns):
        """Columns between tabs, for the screen."""
        return _tab_separated(model, texts, _takes_pairs(model), "compares")

    @classmethod
    def stream(cls, model, run, data, columns):
        """Every file is a table."""
        return columns_as_trained(run, columns, text_pair="text_pair" if _takes_pairs(model) else None)


class Retrieval(SentenceSimilarity):
    """A search by meaning, learned from questions and their documents; what it learns is a sentence encoder too."""

    train = train_command(
        RetrievalSettings,
        "tl_keras.tasks.retrieval:RetrievalRun",
        "Learn to find documents from questions and the documents that answer them.",
    )

    @classmethod
    def evaluate(cls, model, run, data, columns):
        """Let the questions of a file search among its documents; gives a `RetrievalReport`."""
        from tl_keras.data.pairs import read_retrieval_pairs
        from tl_keras.serving.evaluate import evaluate_retrieval

        refuse_columns("retrieval", columns, "label")
        config = run_settings(run)
        pairs = read_retrieval_pairs(
            data,
            columns.text or config.get("text", "question"),
            columns.text_pair or config.get("text_pair", "document"),
            **_form_of_table(config, columns),
        )
        return evaluate_retrieval(model, pairs)

    @classmethod
    def stream(cls, model, run, data, columns):
        """Every file is a table."""
        return columns_as_trained(run, columns, "question", "document")


class ZeroShotClassification(Task):
    """Labels that are named when it is asked, by `tl-keras zero-shot`."""

    train = train_command(
        ZeroShotSettings,
        "tl_keras.tasks.few_labels:ZeroShotRun",
        "Learn entailment from pairs (NLI data); the result answers for any labels: tl-keras zero-shot RUN TEXT --label A --label B.",
    )

    @classmethod
    def evaluate(cls, model, run, *others):
        """Refused: it has no labels yet."""
        raise UserError(
            f"{run} has no labels of its own; name them: tl-keras zero-shot {run} TEXT --label A --label B."
        )

    predict = stream = evaluate


def _tab_separated(model, texts: list[str], pairs: bool, verb: str) -> Predictions:
    from tl_keras.serving.predict import predict

    others = None
    if pairs:
        if len(texts) % 2:
            raise UserError(f"this model {verb} pairs of texts: give an even number of them, not {len(texts)}.")
        texts, others = texts[::2], texts[1::2]
    frame = predict(model, texts, others)
    return Predictions(frame.to_csv(index=False, sep="\t", float_format="%.4f"), len(frame))


def _json_lines(rows, done: str) -> Predictions:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return Predictions("".join(line + "\n" for line in lines), len(lines), done)


def _takes_pairs(model) -> bool:
    return getattr(model, "takes_pairs", True)


def _form_of_table(config: dict, columns: Columns) -> dict:
    """How a table is read: as the run's training file was, but for what the command says."""
    return {
        "separator": columns.separator or config.get("separator"),
        "quoting": config.get("quoting", "auto"),
        "encoding": config.get("encoding", "utf-8"),
    }
