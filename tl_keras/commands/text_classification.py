"""`text-classification` from the command line: one text, or a pair of texts, to one class or to several."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tl_keras.commands import options
from tl_keras.commands.running import (
    Columns,
    Predictions,
    import_tensorflow,
    read_as_trained,
    report_run,
    verbosity,
)
from tl_keras.errors import UserError


def train(
    train: options.TrainFile,
    out: options.RunFolder,
    encoder: options.EncoderHandle = options.DEFAULT_ENCODER,
    validation: options.Validation = None,
    validation_split: options.ValidationSplit = 0.1,
    transfer: options.Transfer = "fine-tune",
    unfreeze_every: options.UnfreezeEvery = None,
    layer_decay: options.LayerDecay = 1.0,
    rate: options.Rate = None,
    layers: options.Layers = None,
    text: options.Text = "text",
    text_pair: options.TextPair = None,
    label: options.Label = "label",
    label_separator: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Multi-label data: what stands between the labels in a cell."),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = 32,
    learning_rate: options.LearningRate = None,
    seq_length: options.SeqLength = 128,
    pooling: options.Pooling = "cls",
    dropout: options.Dropout = 0.1,
    hidden: options.Hidden = None,
    class_weight: Annotated[
        str,
        typer.Option(
            help="none, or balanced: rare classes count as much as common ones.",
            callback=options.one_of("--class-weight", "none", "balanced"),
        ),
    ] = "none",
    patience: options.Patience = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    strategy: options.Strategy = "auto",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    preprocessor: options.Preprocessor = None,
    encoding: options.Encoding = "utf-8",
    quoting: options.Quoting = "auto",
    on_empty: options.OnEmpty = "drop",
) -> None:
    """Learn classes from a CSV or TSV file with a header line."""
    arguments = dict(locals())
    import_tensorflow()
    from tl_keras.runs.text_classification import TextClassificationSettings, train_text_classification

    report_run(train_text_classification(TextClassificationSettings(**arguments), verbosity()))


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
