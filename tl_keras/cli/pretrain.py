"""`tl-keras pretrain`: making encoders from unlabelled text. Importing this loads neither Keras nor TensorFlow."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from tl_keras.cli.commands import as_command, progress_line, this_command, train_or_stop
from tl_keras.cli.running import import_tensorflow, option_fields, option_parameters
from tl_keras.errors import UserError
from tl_keras.options import option, option_name
from tl_keras.pretraining.settings import BertSettings, BilmSettings, GptSettings, PretrainingSettings
from tl_keras.pretraining.word_vectors import WordVectorSettings, train_word_vectors

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
            import_tensorflow()
        from tl_keras.pretraining.pretrain import run_class

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
    return settings(**_read(fields, values))


def _read(fields: Sequence[dataclasses.Field], values: dict) -> dict:
    """Options by the fields of a settings class, in the form that these have; those that were not given are left out."""
    read = {}
    for field in fields:
        value = values[option_name(field)]
        if value is not None:
            value = tuple(value) if isinstance(value, list) else value
            read[field.name] = field.metadata["read"](value) if "read" in field.metadata else value
    return read


def word_vectors_command(**values) -> None:
    """Learn word vectors from text files (word2vec or fastText); needs gensim."""
    settings = WordVectorSettings(**_read(_WORD_VECTORS, values))
    files = train_word_vectors(settings, _bar if sys.stderr.isatty() else _Lines())
    typer.echo(f"wrote {', '.join(map(str, files))}")


_WORD_VECTORS = option_fields(WordVectorSettings)
word_vectors_command.__signature__ = inspect.Signature(option_parameters(WordVectorSettings))


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
