"""`text-classification` from the command line: one text, or a pair of texts, to one class or to several."""

from __future__ import annotations

from tl_keras.commands.running import Columns, Predictions, read_as_trained
from tl_keras.commands.training import train_command
from tl_keras.errors import UserError
from tl_keras.runs.settings import TextClassificationSettings

train = train_command(
    TextClassificationSettings,
    "tl_keras.runs.text_classification:TextClassificationRun",
    "Learn classes from a CSV or TSV file with a header line.",
)


def evaluate(model, run: str, data: str, columns: Columns):
    """Score a labelled table; gives a `ClassificationReport`."""
    from tl_keras.evaluation.classification import evaluate as score

    return score(model, read_as_trained(run, data, columns, labelled=True, classes=model.classes))


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Label texts: a CSV for a file, columns between tabs for the screen."""
    from tl_keras.serving.predict import predict as label_texts

    if data is None:
        pairs = None
        if "text_pair" in model.inputs:
            if len(texts) % 2:
                raise UserError(f"this model takes pairs of texts: give an even number of them, not {len(texts)}.")
            texts, pairs = texts[::2], texts[1::2]
        frame = label_texts(model, texts, pairs)
        return Predictions(frame.to_csv(index=False, sep="\t", float_format="%.4f"), len(frame))
    examples = read_as_trained(run, data, columns, labelled=False, on_empty="keep")
    pairs = None if examples.text_pairs is None else examples.text_pairs.tolist()
    frame = label_texts(model, examples.texts.tolist(), pairs)
    return Predictions(frame.to_csv(index=False), len(frame))
