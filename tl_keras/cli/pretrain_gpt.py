"""`tl-keras pretrain gpt`: a causal language model. Importing this loads no Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras.errors import UserError


def gpt_command(
    out: Annotated[Path, typer.Option(help="Run folder; its preset/ becomes a KerasHub preset.")],
    corpus: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads annotations at run time, also on Python 3.10)
        typer.Option(
            help="UTF-8 text: a text a line, or documents of lines with an empty line between them. May be given several times."
        ),
    ] = None,
    licence: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Licence of each corpus, in order, for the model card."),
    ] = None,
    vocab_size: Annotated[int, typer.Option(help="Tokens of the byte-level vocabulary to learn.")] = 8000,
    heldout_fraction: Annotated[float, typer.Option(help="Fraction of documents kept back for measuring.")] = 0.01,
    init_embeddings: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Vectors of the tokens to start from (.npy or word2vec text), or skip-gram: learn them first."
        ),
    ] = None,
    layers: Annotated[int, typer.Option(help="Transformer blocks.")] = 4,
    width: Annotated[int, typer.Option(help="Width of the hidden states.")] = 256,
    heads: Annotated[Optional[int], typer.Option(help="Default: one per 64 units of width.")] = None,  # noqa: UP045
    max_length: Annotated[
        int, typer.Option(help="Tokens of a row; also the longest text that the model can read and write.")
    ] = 128,
    dropout: Annotated[float, typer.Option(help="Fraction of dropped units.")] = 0.0,
    steps: Annotated[Optional[int], typer.Option(help="Length of the run in steps, in all.")] = None,  # noqa: UP045
    minutes: Annotated[Optional[float], typer.Option(help="Length of the run in minutes, in all.")] = None,  # noqa: UP045
    batch_tokens: Annotated[int, typer.Option(help="Tokens in a batch, padding included.")] = 2048,
    learning_rate: Annotated[float, typer.Option(help="Peak rate.")] = 2e-3,
    warmup_steps: Annotated[int, typer.Option(help="Steps until the peak.")] = 150,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of AdamW.")] = 0.01,
    checkpoint_steps: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 200,
    history_steps: Annotated[int, typer.Option(help="Steps between rows of history.csv.")] = 50,
    heldout_steps: Annotated[int, typer.Option(help="Steps between held-out measurements.")] = 400,
    name: Annotated[Optional[str], typer.Option(help="Name of the model, for the model card.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and held-out documents.")] = 0,
    resume: Annotated[
        bool, typer.Option(help="Go on from the checkpoint in OUT, with its settings; --steps or --minutes may be new.")
    ] = False,
) -> None:
    """Pre-train a causal language model (GPT-2) on text files; leave a KerasHub preset."""
    from tl_keras.pretraining.gpt_settings import GptSettings

    if resume:
        if corpus or init_embeddings:
            raise UserError("--resume takes its corpora and its start from the run: leave them out")
        settings = GptSettings.resumed(out, steps, minutes)
    else:
        settings = GptSettings(
            out=str(out),
            corpus=tuple(map(str, corpus or ())),
            licences=tuple(licence or ()),
            vocab_size=vocab_size,
            heldout_fraction=heldout_fraction,
            init_embeddings=init_embeddings,
            layers=layers,
            width=width,
            heads=heads,
            max_length=max_length,
            dropout=dropout,
            steps=steps,
            minutes=minutes,
            batch_tokens=batch_tokens,
            peak_learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            weight_decay=weight_decay,
            checkpoint_steps=checkpoint_steps,
            history_steps=history_steps,
            heldout_steps=heldout_steps,
            name=name,
            seed=seed,
        )
    from tl_keras.pretraining.gpt import GptPretraining
    from tl_keras.pretraining.terminal import progress_line, this_command, train_or_stop

    pretraining = GptPretraining(settings, resume, progress_line(), this_command())
    train_or_stop(pretraining)
    pretraining.export()
    typer.echo(f"wrote the language model {settings.out}; go on with: tl-keras generate {settings.out} --prompt TEXT")
