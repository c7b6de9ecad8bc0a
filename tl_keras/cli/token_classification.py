"""`token-classification` from the command line: labelled spans of a text, such as named entities."""

from __future__ import annotations

import json

from tl_keras.cli.running import Columns, Predictions, columns_as_trained, is_rows, refuse_columns, run_settings
from tl_keras.cli.train import train_command
from tl_keras.tasks.task_settings import TokenClassificationSettings

train = train_command(
    TokenClassificationSettings,
    "tl_keras.tasks.token_classification:TokenClassificationRun",
    "Learn spans from CoNLL columns, KLUE's characters, or JSON lines with entities.",
)


def evaluate(model, run: str, data: str, columns: Columns):
    """Score a tagged file; gives a `TaggingReport`."""
    from tl_keras.serving.evaluate import evaluate as score

    refuse_columns("token-classification", columns, "text", "text_pair", "label")
    return score(model, _read(run, data, model.labels))


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Tag texts: JSON lines, in the form that `train` reads."""
    refuse_columns("token-classification", columns, "text_pair")
    if data is not None:
        texts = _read(run, data).texts.tolist()
    rows = zip(texts, model.entities(texts), strict=True)
    lines = [json.dumps({"text": text, "entities": found}, ensure_ascii=False) for text, found in rows]
    return Predictions("".join(line + "\n" for line in lines), len(lines), "texts tagged")


def stream(model, run: str, data: str, columns: Columns) -> dict | None:
    """How a table or JSON lines of any size are tagged; see `predict_file`. None for CoNLL and KLUE's characters."""
    refuse_columns("token-classification", columns, "text_pair")
    if columns.text is None and not is_rows(data):
        return None
    return columns_as_trained(run, columns)


def _read(run, data, labels=None):
    """Read a tagged file as the run's training file was read."""
    from tl_keras.data.tagging_files import read_tagged

    config = run_settings(run)
    # The format is found anew: a run trained on CoNLL columns may well be scored on JSON lines.
    names = ("scheme", "word_column", "tag_column", "overlaps", "encoding")
    return read_tagged(data, labels=labels, **{name: config[name] for name in names if name in config})
