"""`token-classification` from the command line: labelled spans of a text, such as named entities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tl_keras.commands import options
from tl_keras.commands.running import (
    Columns,
    Predictions,
    import_tensorflow,
    refuse_columns,
    report_run,
    run_settings,
    verbosity,
)


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
    format: Annotated[
        str,
        typer.Option(
            help="Of the files: auto, conll, characters (KLUE's) or jsonl.",
            callback=options.one_of("--format", "auto", "conll", "characters", "jsonl"),
        ),
    ] = "auto",
    scheme: Annotated[
        str,
        typer.Option(
            help="Of the tags: auto, bio, bioes or plain.",
            callback=options.one_of("--scheme", "auto", "bio", "bioes", "plain"),
        ),
    ] = "auto",
    word_column: Annotated[int, typer.Option(help="CoNLL: column of the words, from 0.")] = 0,
    tag_column: Annotated[int, typer.Option(help="CoNLL: column of the tags; -1 is the last.")] = -1,
    label_pieces: Annotated[
        str,
        typer.Option(
            help="Which pieces carry tags: first (of each word), all, or auto: by the data.",
            callback=options.one_of("--label-pieces", "auto", "first", "all"),
        ),
    ] = "auto",
    overlaps: Annotated[
        str,
        typer.Option(
            help="Entities that overlap: error, or keep the longest.",
            callback=options.one_of("--overlaps", "error", "longest"),
        ),
    ] = "error",
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = 32,
    learning_rate: options.LearningRate = None,
    seq_length: options.SeqLength = 128,
    dropout: options.Dropout = 0.1,
    hidden: options.Hidden = None,
    patience: options.Patience = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    strategy: options.Strategy = "auto",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    preprocessor: options.Preprocessor = None,
    encoding: options.Encoding = "utf-8",
) -> None:
    """Learn spans from CoNLL columns, KLUE's characters, or JSON lines with entities."""
    arguments = dict(locals())
    import_tensorflow()
    from tl_keras.runs.token_classification import TokenClassificationSettings, train_token_classification

    report_run(train_token_classification(TokenClassificationSettings(**arguments), verbosity()))


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
