"""`text-classification` from the command line: one text, or a pair of texts, to one class or to several."""

from __future__ import annotations

from tl_keras.cli.running import Columns, Predictions, columns_as_trained, read_as_trained, refuse_columns
from tl_keras.cli.train import train_command
from tl_keras.errors import UserError
from tl_keras.tasks.task_settings import TextClassificationSettings

train = train_command(
    TextClassificationSettings,
    "tl_keras.tasks.few_labels:classification_run",
    "Learn classes from a table of labelled texts, or a folder of them.",
)


def evaluate(model, run: str, data: str, columns: Columns):
    """Score a labelled table; gives a `ClassificationReport`."""
    from tl_keras.serving.evaluate import evaluate as score

    return score(model, read_as_trained(run, data, columns, labelled=True, classes=model.classes))


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Label texts: columns between tabs, for the screen. Files go through `stream`."""
    from tl_keras.serving.predict import predict as label_texts

    pairs = None
    if model.takes_pairs:
        if len(texts) % 2:
            raise UserError(f"this model takes pairs of texts: give an even number of them, not {len(texts)}.")
        texts, pairs = texts[::2], texts[1::2]
    frame = label_texts(model, texts, pairs)
    return Predictions(frame.to_csv(index=False, sep="\t", float_format="%.4f"), len(frame))


def stream(model, run: str, data: str, columns: Columns) -> dict:
    """How a table of any size is labelled; see `predict_file`."""
    pair = "text_pair" if model.takes_pairs else None
    if pair is None:
        refuse_columns("a model of single texts", columns, "text_pair")
    return columns_as_trained(run, columns, text_pair=pair)
