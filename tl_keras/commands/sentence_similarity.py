"""`sentence-similarity` from the command line: how alike two texts are, as a number."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tl_keras.commands import options
from tl_keras.commands.running import (
    Columns,
    Predictions,
    import_tensorflow,
    report_run,
    run_settings,
    verbosity,
)
from tl_keras.errors import UserError

Dimensions = Annotated[
    Optional[int],  # noqa: UP045  (typer reads annotations at run time, also on Python 3.10)
    typer.Option(help="Vectors of so many numbers, by a matrix that is learned. Default: the encoder's width."),
]

LexicalShare = Annotated[
    float, typer.Option(help="How much of the likeness is shared words (TF-IDF), 0 to 1; helps small encoders.")
]


def train(
    train: options.TrainFile,
    out: options.RunFolder,
    encoder: options.EncoderHandle = options.DEFAULT_ENCODER,
    validation: options.Validation = None,
    validation_split: options.ValidationSplit = 0.1,
    architecture: Annotated[
        str,
        typer.Option(
            help="bi-encoder (a vector for each text, compared by cosine) or cross-encoder (both texts read together).",
            callback=options.one_of("--architecture", "bi-encoder", "cross-encoder"),
        ),
    ] = "bi-encoder",
    transfer: options.Transfer = "fine-tune",
    unfreeze_every: options.UnfreezeEvery = None,
    layer_decay: options.LayerDecay = 1.0,
    rate: options.Rate = None,
    layers: options.Layers = None,
    text: options.Text = "text",
    text_pair: Annotated[str, typer.Option(help="Column with the second text.")] = "text_pair",
    label: Annotated[str, typer.Option(help="Column with the score, a number.")] = "score",
    score_range: Annotated[
        Optional[tuple[float, float]],  # noqa: UP045
        typer.Option(help="Lowest and highest possible score, e.g. 0 5. Default: those in the training file."),
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            help="Of a bi-encoder: cosine or ranking (graded scores), or contrastive (alike or not).",
            callback=options.one_of("--loss", "cosine", "ranking", "contrastive"),
        ),
    ] = "cosine",
    pooling: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="How a text's vector is made: cls, mean or max. Default: mean for a bi-encoder, else cls.",
            callback=options.one_of("--pooling", *options.POOLINGS),
        ),
    ] = None,
    dimensions: Dimensions = None,
    lexical_share: LexicalShare = 0.0,
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
    quoting: options.Quoting = "auto",
    on_empty: options.OnEmpty = "drop",
) -> None:
    """Learn how alike two texts are from a CSV or TSV file of scored pairs."""
    arguments = dict(locals())
    import_tensorflow()
    from tl_keras.runs.sentence_similarity import SentenceSimilaritySettings, train_sentence_similarity

    report_run(train_sentence_similarity(SentenceSimilaritySettings(**arguments), verbosity()))


def evaluate(model, run: str, data: str, columns: Columns):
    """Score a file of scored pairs, or for a run of `retrieval` questions and documents."""
    from tl_keras.data.pairs import read_scored
    from tl_keras.evaluation.similarity import evaluate_similarity

    config = run_settings(run)
    if is_retrieval(config, data):
        from tl_keras.commands import retrieval

        return retrieval.evaluate(model, run, data, columns)
    pairs = read_scored(
        data,
        columns.text or config.get("text", "text"),
        (columns.text_pair or config.get("text_pair", "text_pair")) if getattr(model, "takes_pairs", True) else None,
        columns.label or config.get("label", "score"),
        score_range=_wide_range(config),
        quoting=config.get("quoting", "auto"),
        encoding=config.get("encoding", "utf-8"),
    )
    return evaluate_similarity(model, pairs)


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Score pairs: a CSV for a file, columns between tabs for the screen."""
    from tl_keras.data.table import read_table
    from tl_keras.serving.predict import predict as score_pairs

    config = run_settings(run)
    if data is None:
        if getattr(model, "takes_pairs", True):
            if len(texts) % 2:
                raise UserError(f"this model compares pairs of texts: give an even number of them, not {len(texts)}.")
            frame = score_pairs(model, texts[::2], texts[1::2])
        else:
            frame = score_pairs(model, texts)
        return Predictions(frame.to_csv(index=False, sep="\t", float_format="%.4f"), len(frame))
    retrieval = config.get("task") == "retrieval"
    pair = columns.text_pair or config.get("text_pair", "document" if retrieval else "text_pair")
    examples = read_table(
        data,
        columns.text or config.get("text", "question" if retrieval else "text"),
        None,
        pair if getattr(model, "takes_pairs", True) else None,
        quoting=config.get("quoting", "auto"),
        encoding=config.get("encoding", "utf-8"),
        on_empty="keep",
    )
    pairs = None if examples.text_pairs is None else examples.text_pairs.tolist()
    frame = score_pairs(model, examples.texts.tolist(), pairs)
    return Predictions(frame.to_csv(index=False), len(frame), "pairs scored")


def is_retrieval(config: dict, data: str) -> bool:
    """Whether a run, or for a bare export the file, is of questions and documents."""
    return config.get("task", "retrieval" if str(data).endswith(".json") else None) == "retrieval"


def _wide_range(config: dict) -> tuple[float, float] | None:
    # A file that is only scored may go beyond the range that training saw; the correlations do not mind.
    return (-1e30, 1e30) if config.get("score_range") else None
