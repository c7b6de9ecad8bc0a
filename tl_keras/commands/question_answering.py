"""`question-answering` from the command line: answers that are slices of a context."""

from __future__ import annotations

import json
from typing import Annotated, Optional

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
from tl_keras.errors import UserError

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045


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
    normalisation: Annotated[
        str,
        typer.Option(
            help="Of answers before they are compared: squad (words), korquad (characters), or auto: by script.",
            callback=options.one_of("--normalisation", "auto", "squad", "korquad"),
        ),
    ] = "auto",
    max_question_length: Annotated[
        Optional[int], typer.Option(help="In pieces; longer questions are cut. Default: 64, or half of --seq-length.")
    ] = None,
    max_answer_length: Annotated[int, typer.Option(help="Longest answer given, in pieces.")] = 30,
    overlap: Annotated[
        Optional[int],
        typer.Option(help="Pieces that windows over a long context share. Default: a quarter, but at least 30."),
    ] = None,
    null_threshold: Annotated[
        Optional[float],
        typer.Option(
            help="With impossible questions: how surely none must be right to be given. Default: the best on validation."
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = 32,
    learning_rate: options.LearningRate = None,
    seq_length: Annotated[int, typer.Option(help="Pieces in a window: question and part of the context.")] = 128,
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
    """Learn to answer from SQuAD's JSON (v1.1, v2.0, KorQuAD)."""
    arguments = dict(locals())
    import_tensorflow()
    from tl_keras.runs.question_answering import QuestionAnsweringSettings, train_question_answering

    report_run(train_question_answering(QuestionAnsweringSettings(**arguments), verbosity()))


def evaluate(model, run: str, data: str, columns: Columns):
    """Score a SQuAD file; gives a `QuestionReport`."""
    from tl_keras.evaluation.question_answering import evaluate_questions

    refuse_columns("question-answering", columns, "text", "text_pair", "label")
    settings = run_settings(run)
    return evaluate_questions(model, _read(run, data), normalisation=settings.get("normalisation", "auto"))


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Answer questions: JSON lines with the question's id, where the file has one, and the answer in characters."""
    refuse_columns("question-answering", columns, "text", "text_pair", "label")
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


def _read(run, data):
    """Read a SQuAD file in the encoding of the run's training file."""
    from tl_keras.data.squad import read_squad

    return read_squad(data, encoding=run_settings(run).get("encoding", "utf-8"))
