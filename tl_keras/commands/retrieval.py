"""`retrieval` from the command line: a search by meaning, learned from questions and their documents."""

from __future__ import annotations

from typing import Annotated

import typer

from tl_keras.commands import options, sentence_similarity
from tl_keras.commands.running import Columns, import_tensorflow, refuse_columns, report_run, run_settings, verbosity
from tl_keras.commands.sentence_similarity import Dimensions, LexicalShare


def train(
    train: Annotated[
        str, typer.Option("--train", help="Training file: CSV or TSV with a header line, or .json as SQuAD's.")
    ],
    out: options.RunFolder,
    encoder: options.EncoderHandle = options.DEFAULT_ENCODER,
    validation: options.Validation = None,
    validation_split: options.ValidationSplit = 0.1,
    transfer: options.Transfer = "fine-tune",
    unfreeze_every: options.UnfreezeEvery = None,
    layer_decay: options.LayerDecay = 1.0,
    rate: options.Rate = None,
    layers: options.Layers = None,
    text: Annotated[str, typer.Option(help="Column with the question.")] = "question",
    text_pair: Annotated[str, typer.Option(help="Column with the document that answers it.")] = "document",
    scale: Annotated[float, typer.Option(help="What cosines are multiplied by in the loss.")] = 20.0,
    pooling: options.Pooling = "mean",
    dimensions: Dimensions = None,
    lexical_share: LexicalShare = 0.0,
    epochs: options.Epochs = None,
    batch_size: Annotated[
        int, typer.Option(help="Pairs in a batch; also how many documents a question chooses from.")
    ] = 32,
    learning_rate: options.LearningRate = None,
    seq_length: options.SeqLength = 256,
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
    """Learn to find documents from questions and the documents that answer them."""
    arguments = dict(locals())
    import_tensorflow()
    from tl_keras.runs.retrieval import RetrievalSettings, train_retrieval

    report_run(train_retrieval(RetrievalSettings(**arguments), verbosity()))


def evaluate(model, run: str, data: str, columns: Columns):
    """Let the questions of a file search among its documents; gives a `RetrievalReport`."""
    from tl_keras.data.pairs import read_retrieval_pairs
    from tl_keras.evaluation.retrieval import evaluate_retrieval

    refuse_columns("retrieval", columns, "label")
    config = run_settings(run)
    pairs = read_retrieval_pairs(
        data,
        columns.text or config.get("text", "question"),
        columns.text_pair or config.get("text_pair", "document"),
        quoting=config.get("quoting", "auto"),
        encoding=config.get("encoding", "utf-8"),
    )
    return evaluate_retrieval(model, pairs)


# The cosine of a question and a document.
predict = sentence_similarity.predict
