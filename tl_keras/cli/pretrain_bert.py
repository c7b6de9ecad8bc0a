"""`tl-keras pretrain bert`: an encoder pair. Importing this loads no Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras.errors import UserError


def bert_command(
    out: Annotated[Path, typer.Option(help="Run folder; becomes an encoder pair.")],
    corpus: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads annotations at run time, also on Python 3.10)
        typer.Option(
            help="UTF-8 text, one sentence per line, empty line between documents. May be given several times."
        ),
    ] = None,
    licence: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Licence of each corpus, in order, for the model card."),
    ] = None,
    tokens: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder of token files: reused if they fit, else written. Default: OUT/tokens."),
    ] = None,
    vocab: Annotated[Optional[Path], typer.Option(help="vocab.txt to use; default: learn one.")] = None,  # noqa: UP045
    vocab_size: Annotated[int, typer.Option(help="Size of the vocabulary to learn.")] = 8000,
    alphabet_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Characters to keep; default: a sixth of --vocab-size."),
    ] = None,
    lower_case: Annotated[bool, typer.Option(help="Uncased vocabulary.")] = False,
    lowercase_fraction: Annotated[
        float, typer.Option(help="Cased encoder: fraction of documents that are lower-cased all the same.")
    ] = 0.0,
    heldout_fraction: Annotated[float, typer.Option(help="Fraction of documents kept back for measuring.")] = 0.01,
    init: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Continue from this encoder pair (preset, URL or folder)."),
    ] = None,
    init_embeddings: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Word vectors of the tokens (.npy or word2vec text), or skip-gram: learn them first."),
    ] = None,
    layers: Annotated[int, typer.Option(help="Transformer blocks.")] = 4,
    width: Annotated[int, typer.Option(help="Width of the hidden states.")] = 256,
    heads: Annotated[Optional[int], typer.Option(help="Default: one per 64 units of width.")] = None,  # noqa: UP045
    intermediate: Annotated[Optional[int], typer.Option(help="Default: 4 x width.")] = None,  # noqa: UP045
    max_positions: Annotated[int, typer.Option(help="Longest sequence the encoder can take.")] = 512,
    dropout: Annotated[float, typer.Option(help="While pre-training.")] = 0.0,
    finetune_dropout: Annotated[float, typer.Option(help="Dropout in the exported encoder.")] = 0.1,
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 (mixed).")] = "float32",
    steps: Annotated[Optional[int], typer.Option(help="Length of the run in steps, in all.")] = None,  # noqa: UP045
    minutes: Annotated[Optional[float], typer.Option(help="Length of the run in minutes, in all.")] = None,  # noqa: UP045
    batch_tokens: Annotated[int, typer.Option(help="Tokens in a batch, padding included.")] = 4096,
    length_schedule: Annotated[
        str, typer.Option(help="Row length, or LENGTH@FRACTION,...: 64@0.5,128@1 is short rows for the first half.")
    ] = "128",
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    warmup_steps: Annotated[int, typer.Option(help="Steps until the peak learning rate.")] = 150,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of AdamW.")] = 0.01,
    mask_fraction: Annotated[float, typer.Option(help="Fraction of tokens to predict.")] = 0.15,
    whole_words: Annotated[bool, typer.Option(help="Mask whole words, not single tokens.")] = False,
    checkpoint_steps: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 200,
    history_steps: Annotated[int, typer.Option(help="Steps between rows of history.csv.")] = 50,
    heldout_steps: Annotated[int, typer.Option(help="Steps between held-out measurements.")] = 400,
    name: Annotated[Optional[str], typer.Option(help="Name of the encoder, for the model card.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Random seed of the whole run.")] = 0,
    resume: Annotated[
        bool, typer.Option(help="Go on from the checkpoint in OUT, with its settings; --steps or --minutes may be new.")
    ] = False,
    export: Annotated[
        bool,
        typer.Option(help="Write the encoder pair at the end (needs TensorFlow; may follow later, with --resume)."),
    ] = True,
) -> None:
    """Pre-train BERT (masked words and next sentence) on text files; leave an encoder pair.

    Files without an empty line count as independent lines and give no sentence pairs. KERAS_BACKEND=jax trains without
    TensorFlow, with --no-export.
    """
    from tl_keras.pretraining.schedule import parse_lengths
    from tl_keras.pretraining.settings import BertSettings

    if resume:
        if corpus or init or vocab:
            raise UserError("--resume takes its corpora, vocabulary and start from the run: leave them out")
        settings = BertSettings.resumed(out, steps, minutes)
    else:
        settings = BertSettings(
            out=str(out),
            corpus=tuple(map(str, corpus or ())),
            licences=tuple(licence or ()),
            tokens=None if tokens is None else str(tokens),
            vocab=None if vocab is None else str(vocab),
            vocab_size=vocab_size,
            alphabet_size=alphabet_size,
            lower_case=lower_case,
            lowercase_fraction=lowercase_fraction,
            heldout_fraction=heldout_fraction,
            init=init,
            init_embeddings=init_embeddings,
            layers=layers,
            width=width,
            heads=heads,
            intermediate=intermediate,
            max_positions=max_positions,
            dropout=dropout,
            finetune_dropout=finetune_dropout,
            precision=precision,
            steps=steps,
            minutes=minutes,
            batch_tokens=batch_tokens,
            lengths=parse_lengths(length_schedule),
            peak_learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            weight_decay=weight_decay,
            mask_fraction=mask_fraction,
            whole_words=whole_words,
            checkpoint_steps=checkpoint_steps,
            history_steps=history_steps,
            heldout_steps=heldout_steps,
            name=name,
            seed=seed,
        )
    _run(settings, resume, export)


def _run(settings, resume: bool, export: bool) -> None:
    from tl_keras.pretraining.bert import Pretraining
    from tl_keras.pretraining.terminal import progress_line, this_command, train_or_stop

    pretraining = Pretraining(settings, resume, progress_line(), this_command())
    train_or_stop(pretraining)
    if export:
        pretraining.export()
        typer.echo(f"wrote the encoder pair {settings.out}")
    else:
        typer.echo(f"trained; write the encoder pair with: tl-keras pretrain bert --out {settings.out} --resume")
