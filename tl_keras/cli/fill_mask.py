"""`tl-keras fill-mask`: the words that an encoder finds likely behind a mask. Importing this loads no TensorFlow."""

from __future__ import annotations

from typing import Annotated

import typer

from tl_keras.cli.running import import_tensorflow


def fill_mask(
    encoder: Annotated[str, typer.Argument(help="Preset, URL or folder of an encoder with a masked-LM head.")],
    text: Annotated[str, typer.Argument(help='Text with one or more masks, e.g. "이 영화는 정말 [MASK]."')],
    top: Annotated[int, typer.Option(min=1, help="Tokens for each mask.")] = 5,
    seq_length: Annotated[int, typer.Option(help="Longest text in tokens.")] = 128,
) -> None:
    """Fill masks in a text."""
    import_tensorflow()
    from tl_keras.serving.fill_mask import fill_mask as fill

    found = fill(encoder, text, top, seq_length=seq_length)
    typer.echo(found.to_csv(index=False, sep="\t", float_format="%.4f").rstrip("\n"))
