"""`retrieval` from the command line: a search by meaning, learned from questions and their documents."""

from __future__ import annotations

from tl_keras.cli.running import Columns, columns_as_trained, refuse_columns, run_settings
from tl_keras.cli.sentence_similarity import predict  # noqa: F401  (what it learns is a sentence encoder too)
from tl_keras.cli.train import train_command
from tl_keras.tasks.task_settings import RetrievalSettings

train = train_command(
    RetrievalSettings,
    "tl_keras.tasks.retrieval:RetrievalRun",
    "Learn to find documents from questions and the documents that answer them.",
)


def evaluate(model, run: str, data: str, columns: Columns):
    """Let the questions of a file search among its documents; gives a `RetrievalReport`."""
    from tl_keras.data.pairs import read_retrieval_pairs
    from tl_keras.serving.evaluate import evaluate_retrieval

    refuse_columns("retrieval", columns, "label")
    config = run_settings(run)
    pairs = read_retrieval_pairs(
        data,
        columns.text or config.get("text", "question"),
        columns.text_pair or config.get("text_pair", "document"),
        separator=columns.separator or config.get("separator"),
        quoting=config.get("quoting", "auto"),
        encoding=config.get("encoding", "utf-8"),
    )
    return evaluate_retrieval(model, pairs)


def stream(model, run: str, data: str, columns: Columns) -> dict:
    """How a table of any size is scored; see `predict_file`."""
    return columns_as_trained(run, columns, "question", "document")
