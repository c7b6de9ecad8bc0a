"""`tl-keras pretrain bilm`: language models in both directions, whose states are ELMo vectors. Importing this loads no Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras.cli import options
from tl_keras.errors import UserError
from tl_keras.pretraining.bilm.settings import TOKENS


def bilm_command(
    out: Annotated[Path, typer.Option(help="Run folder; becomes a SavedModel.")],
    corpus: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads annotations at run time, also on Python 3.10)
        typer.Option(help="UTF-8 text, one sentence per line. May be given several times."),
    ] = None,
    licence: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Licence of each corpus, in order, for the README."),
    ] = None,
    lower_case: Annotated[bool, typer.Option(help="Lower-case all words.")] = False,
    vocab_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Words to predict. Default: all that occur --min-count times, at most 30,000."),
    ] = None,
    min_count: Annotated[int, typer.Option(help="Rarer words are predicted as one unknown word.")] = 2,
    heldout_fraction: Annotated[float, typer.Option(help="Fraction of documents kept back for measuring.")] = 0.01,
    tokens: Annotated[
        str,
        typer.Option(
            help="chars: words are read by their characters; words: by their place in the vocabulary.",
            callback=options.one_of("--tokens", *TOKENS),
        ),
    ] = "chars",
    vectors: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With --tokens words: word vectors to start from (word2vec, GloVe, fastText)."),
    ] = None,
    width: Annotated[int, typer.Option(help="Width of each direction; ELMo vectors are twice as wide.")] = 256,
    layers: Annotated[int, typer.Option(help="LSTM layers, at least 2.")] = 2,
    cells: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Cells of each LSTM, projected to --width at each step. Default: --width, no projection."),
    ] = None,
    char_width: Annotated[int, typer.Option(help="Width of a character's vector.")] = 16,
    filters: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Filters of the character CNN: WIDTH:NUMBER,... Default: 1:16,2:32,3:64,4:64,5:64,6:64."),
    ] = None,
    highways: Annotated[int, typer.Option(help="Highway layers above the character CNN.")] = 1,
    max_chars: Annotated[int, typer.Option(help="Bytes of a word that are read, and its two end marks.")] = 48,
    max_length: Annotated[int, typer.Option(help="Words of a row; longer sentences are cut into several.")] = 64,
    samples: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Words the sampled softmax draws for each batch; 0: full softmax. Default: full up to 5,000 words to predict."
        ),
    ] = None,
    dropout: Annotated[float, typer.Option(help="Dropout while pre-training.")] = 0.1,
    steps: Annotated[Optional[int], typer.Option(help="Length of the run in steps, in all.")] = None,  # noqa: UP045
    minutes: Annotated[Optional[float], typer.Option(help="Length of the run in minutes, in all.")] = None,  # noqa: UP045
    batch_tokens: Annotated[int, typer.Option(help="Words in a batch, padding included.")] = 2048,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    warmup_steps: Annotated[int, typer.Option(help="Steps until the peak learning rate.")] = 100,
    clip_norm: Annotated[float, typer.Option(help="Gradient norm to clip at.")] = 5.0,
    checkpoint_steps: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 200,
    history_steps: Annotated[int, typer.Option(help="Steps between rows of history.csv.")] = 50,
    heldout_steps: Annotated[int, typer.Option(help="Steps between held-out measurements.")] = 400,
    name: Annotated[Optional[str], typer.Option(help="Name of the model, for the README.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Random seed of the whole run.")] = 0,
    resume: Annotated[
        bool, typer.Option(help="Go on from the checkpoint in OUT, with its settings; --steps or --minutes may be new.")
    ] = False,
) -> None:
    """Pre-train a biLM (ELMo) on text files; leave a SavedModel like TF Hub's elmo/3."""
    from tl_keras.pretraining.bilm.settings import DEFAULT_FILTERS, BilmSettings, parse_filters

    if resume:
        if corpus or vectors:
            raise UserError("--resume takes its corpora and its start from the run: leave them out")
        settings = BilmSettings.resumed(out, steps, minutes)
    else:
        settings = BilmSettings(
            out=str(out),
            corpus=tuple(map(str, corpus or ())),
            licences=tuple(licence or ()),
            lower_case=lower_case,
            vocab_size=vocab_size,
            min_count=min_count,
            heldout_fraction=heldout_fraction,
            tokens=tokens,
            vectors=vectors,
            width=width,
            layers=layers,
            cells=cells,
            char_width=char_width,
            filters=parse_filters(filters) if filters else DEFAULT_FILTERS,
            highways=highways,
            max_chars=max_chars,
            max_length=max_length,
            samples=samples,
            dropout=dropout,
            steps=steps,
            minutes=minutes,
            batch_tokens=batch_tokens,
            peak_learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            clip_norm=clip_norm,
            checkpoint_steps=checkpoint_steps,
            history_steps=history_steps,
            heldout_steps=heldout_steps,
            name=name,
            seed=seed,
        )
    _run(settings, resume)


def _run(settings, resume: bool) -> None:
    from tl_keras.cli.running import import_tensorflow
    from tl_keras.pretraining.terminal import progress_line, this_command, train_or_stop

    import_tensorflow()
    try:
        from tl_keras.pretraining.bilm.run import BilmPretraining
    except ModuleNotFoundError as error:
        raise UserError(f"pre-training needs the package {error.name}: pip install 'tl_keras[pretrain]'") from error

    pretraining = BilmPretraining(settings, resume, progress_line(), this_command())
    train_or_stop(pretraining)
    pretraining.export()
    typer.echo(f"wrote the biLM {settings.out}")
