"""`question-answering` from the command line: answers that are slices of a context."""

from __future__ import annotations

import json

from tl_keras.cli.running import Columns, Predictions, columns_as_trained, is_rows, refuse_columns, run_settings
from tl_keras.cli.train import train_command
from tl_keras.errors import UserError
from tl_keras.tasks.task_settings import QuestionAnsweringSettings

train = train_command(
    QuestionAnsweringSettings,
    "tl_keras.tasks.question_answering:QuestionAnsweringRun",
    "Learn to answer from SQuAD's JSON (v1.1, v2.0, KorQuAD).",
)


def evaluate(model, run: str, data: str, columns: Columns):
    """Score a SQuAD file; gives a `QuestionReport`."""
    from tl_keras.serving.evaluate import evaluate_questions

    refuse_columns("question-answering", columns, "text", "text_pair", "label")
    settings = run_settings(run)
    return evaluate_questions(model, _read(run, data), normalisation=settings.get("normalisation", "auto"))


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Answer questions: JSON lines with the question's id, where the file has one, and the answer in characters."""
    if data is None:
        if len(texts) % 2:
            raise UserError(
                f"question-answering takes a question and its context, two by two; {len(texts)} texts given."
            )
        questions, contexts, names = texts[0::2], texts[1::2], [{} for _ in texts[0::2]]
    else:
        examples = _read(run, data)
        questions, contexts = examples.questions.tolist(), examples.contexts.tolist()
        names = [{"id": name} for name in examples.ids]
    rows = zip(names, questions, model.answers(questions, contexts), strict=True)
    lines = [
        json.dumps({**name, "question": question, **answer}, ensure_ascii=False) for name, question, answer in rows
    ]
    return Predictions("".join(line + "\n" for line in lines), len(lines), "questions answered")


def stream(model, run: str, data: str, columns: Columns) -> dict | None:
    """How a table or JSON lines of any size are answered; see `predict_file`. None for SQuAD's JSON."""
    if not is_rows(data):
        refuse_columns("SQuAD's JSON", columns, "text", "text_pair")
        return None
    return columns_as_trained(run, columns, "question", "context")


def _read(run, data):
    """Read a SQuAD file in the encoding of the run's training file."""
    from tl_keras.data.squad import read_squad

    return read_squad(data, encoding=run_settings(run).get("encoding", "utf-8"))
