"""`tl-keras pretrain`: making encoders from unlabelled text. Importing this loads neither Keras nor TensorFlow."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tl_keras.cli.ending import as_command
from tl_keras.cli.running import option_fields, option_parameters
from tl_keras.errors import UserError
from tl_keras.options import option, option_name
from tl_keras.pretraining.settings import BertSettings, BilmSettings, GptSettings, PretrainingSettings

_Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on from the checkpoint in OUT, with its settings; --steps or --minutes may be new."
    ),
]
_Export = Annotated[
    bool, typer.Option(help="Write the encoder pair at the end (needs TensorFlow; may follow later, with --resume).")
]


def pretrain_command(
    settings: type[PretrainingSettings], summary: str, done: str, later: str | None = None, tensorflow: bool = True
) -> Callable:
    """A function for typer that pre-trains.

    Args:
        settings: the kind's class; its fields become the options.
        summary: for `--help`.
        done: what to say at the end; `{out}` stands for the run folder.
        later: what to say with `--no-export`; None for a kind without that option.
        tensorflow: whether the kind learns with TensorFlow, and not with whatever is Keras's backend.
    """

    def pretrain(resume: bool, export: bool = True, **values) -> None:
        chosen = _settings_of(settings, resume, values)
        if tensorflow:
            from tl_keras.cli.running import import_tensorflow

            import_tensorflow()
        from tl_keras.pretraining.pretrain import progress_line, run_class, this_command, train_or_stop

        run = run_class(chosen)(chosen, resume, progress_line(), this_command())
        train_or_stop(run)
        if export:
            run.export()
        typer.echo((done if export else later).format(out=chosen.out))

    flags = [("resume", _Resume, False), *([("export", _Export, True)] if later else [])]
    pretrain.__doc__ = summary
    # typer reads the options from the signature.
    pretrain.__signature__ = inspect.Signature(
        [
            *option_parameters(settings),
            *(inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, a, d in flags),
        ]
    )
    return pretrain


def _settings_of(settings: type[PretrainingSettings], resume: bool, values: dict) -> PretrainingSettings:
    """The settings that the options stand for, or those of the run that is resumed.

    Raises:
        UserError: an option is given that the run to be resumed has decided.
    """
    fields = option_fields(settings)
    if resume:
        free = ("out", "steps", "minutes")
        # A value that equals the default cannot be told from one that was not given, and does no harm.
        given = [
            option(field)
            for field in fields
            if field.name not in free and values[option_name(field)] not in (None, field.default)
        ]
        if given:
            raise UserError(f"--resume takes {', '.join(given)} from the run: leave out what it was begun with.")
        return settings.resumed(*(values[name] for name in free))
    read = {}
    for field in fields:
        value = values[option_name(field)]
        if value is None:
            continue
        if isinstance(value, list):
            value = tuple(value)
        read[field.name] = field.metadata["read"](value) if "read" in field.metadata else value
    return settings(**read)


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


app = typer.Typer(help="Make an encoder from unlabelled text.", no_args_is_help=True)
for _name, _command in {
    "bert": pretrain_command(
        BertSettings,
        """Pre-train BERT (masked words and next sentence) on text files; leave an encoder pair.

        Files without an empty line count as independent lines and give no sentence pairs. KERAS_BACKEND=jax trains without TensorFlow,
        with --no-export.
        """,
        "wrote the encoder pair {out}",
        later="trained; write the encoder pair with: tl-keras pretrain bert --out {out} --resume",
        tensorflow=False,
    ),
    "bilm": pretrain_command(
        BilmSettings,
        "Pre-train a biLM (ELMo) on text files; leave a SavedModel like TF Hub's elmo/3.",
        "wrote the biLM {out}",
    ),
    "gpt": pretrain_command(
        GptSettings,
        "Pre-train a causal language model (GPT-2) on text files; leave a KerasHub preset.",
        "wrote the language model {out}; go on with: tl-keras generate {out} --prompt TEXT",
    ),
    "word-vectors": word_vectors_command,
}.items():
    app.command(_name)(as_command(_command))
