"""`token-classification` from the command line: labelled spans of a text, such as named entities."""

from __future__ import annotations

import json
from pathlib import Path

from tl_keras.commands.running import Columns, Predictions, refuse_columns, run_settings
from tl_keras.commands.training import train_command
from tl_keras.runs.settings import TokenClassificationSettings

train = train_command(
    TokenClassificationSettings,
    "tl_keras.runs.token_classification:TokenClassificationRun",
    "Learn spans from CoNLL columns, KLUE's characters, or JSON lines with entities.",
)


def evaluate(model, run: str, data: str, columns: Columns):
    """Score a tagged file; gives a `TaggingReport`."""
    from tl_keras.evaluation.classification import evaluate as score

    refuse_columns("token-classification", columns, "text", "text_pair", "label")
    return score(model, _read(run, data, model.labels))


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Tag texts: JSON lines, in the form that `train` reads."""
    refuse_columns("token-classification", columns, "text_pair")
    if data is not None:
        if Path(data).suffix in {".csv", ".tsv"} or columns.text is not None:
            from tl_keras.data.table import read_table

            texts = read_table(data, columns.text or "text", None, on_empty="keep").texts.tolist()
        else:
            texts = _read(run, data).texts.tolist()
    rows = zip(texts, model.entities(texts), strict=True)
    lines = [json.dumps({"text": text, "entities": found}, ensure_ascii=False) for text, found in rows]
    return Predictions("".join(line + "\n" for line in lines), len(lines), "texts tagged")


def _read(run, data, labels=None):
    """Read a tagged file as the run's training file was read."""
    from tl_keras.data.tagging_files import read_tagged

    config = run_settings(run)
    # The format is found anew: a run trained on CoNLL columns may well be scored on JSON lines.
    names = ("scheme", "word_column", "tag_column", "overlaps", "encoding")
    return read_tagged(data, labels=labels, **{name: config[name] for name in names if name in config})
