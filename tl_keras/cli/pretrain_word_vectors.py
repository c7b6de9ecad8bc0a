"""`tl-keras pretrain word-vectors`. Importing this loads neither TensorFlow nor gensim."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def word_vectors_command(
    corpus: Annotated[
        list[Path],
        typer.Option(
            help="UTF-8 text, one sentence or text a line. Or a table (CSV, JSON lines, Parquet, ...), a document "
            "a row. Can be repeated."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help=".vec (text) or .bin (binary; for fastText with subwords), or a folder for vectors.vec (and vectors.bin)."
        ),
    ],
    text: Annotated[str, typer.Option(help="Column of a table with the text.")] = "text",
    kind: Annotated[
        str, typer.Option(help="Method: skip-gram or cbow (word2vec), fasttext (skip-gram) or fasttext-cbow.")
    ] = "skip-gram",
    width: Annotated[int, typer.Option(help="Width of a vector.")] = 100,
    epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = 5,
    window: Annotated[int, typer.Option(help="Context window: words on each side, at most.")] = 5,
    min_count: Annotated[int, typer.Option(help="How often a word must occur to get a vector.")] = 5,
    negative: Annotated[int, typer.Option(help="Negative samples for each word.")] = 5,
    sample: Annotated[
        float, typer.Option(help="Subsampling threshold of frequent words: the smaller, the more of them are left out.")
    ] = 1e-4,
    min_subword: Annotated[int, typer.Option(help="fastText: shortest subword, in characters.")] = 2,
    max_subword: Annotated[int, typer.Option(help="fastText: longest subword, in characters.")] = 5,
    buckets: Annotated[int, typer.Option(help="fastText: number of hash buckets for subwords.")] = 200_000,
    lower_case: Annotated[bool, typer.Option(help="Lower-case all words.")] = False,
    learning_rate: Annotated[float, typer.Option(help="Initial learning rate.")] = 0.025,
    workers: Annotated[int, typer.Option(help="Threads; only with one does a seed give the same vectors again.")] = 1,
    seed: Annotated[int, typer.Option(help="Random seed of the whole run.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace the files if they exist.")] = False,
) -> None:
    """Learn word vectors from text files (word2vec or fastText); needs gensim."""
    arguments = dict(locals())
    from tl_keras.pretraining.word_vectors import WordVectorSettings, train_word_vectors

    arguments.update(corpus=tuple(map(str, corpus)), out=str(out))
    settings = WordVectorSettings(**arguments)
    files = train_word_vectors(settings, _bar if sys.stderr.isatty() else _Lines())
    typer.echo(f"wrote {', '.join(map(str, files))}")


def _line(progress) -> str:
    return f"epoch {progress.epoch} of {progress.epochs}, {progress.fraction:.0%}, {progress.words_per_second:,.0f} words/s"


def _bar(progress) -> None:
    """One line of progress, written over itself."""
    filled = int(20 * progress.fraction)
    end = "\n" if progress.fraction >= 1.0 else ""
    sys.stderr.write(f"\r[{'#' * filled}{'.' * (20 - filled)}] {_line(progress):<60}{end}")
    sys.stderr.flush()


class _Lines:
    """A line for each epoch, where nobody looks at a bar."""

    def __init__(self):
        self.epoch = 0

    def __call__(self, progress) -> None:
        if progress.epoch != self.epoch or progress.fraction >= 1.0:
            self.epoch = progress.epoch
            print(_line(progress), file=sys.stderr, flush=True)
