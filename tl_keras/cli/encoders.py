"""`convert` and `encoders`: making an encoder pair, and listing those that are published."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Optional

import typer

from tl_keras.cli.running import import_tensorflow
from tl_keras.errors import UserError

# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045


# What the package could not bring along, and how it is made.
LARGER = """
ko-en-small is half of multilingual-e5-small (MIT). All 12 blocks of it, for Korean and English (150 MB, twice the time a text):
  tl-keras convert FOLDER_OF_MULTILINGUAL_E5_SMALL --query-prompt "query: " --passage-prompt "passage: " --out e5
  tl-keras compress e5 --out e5-ko-en --languages ko,en"""


def convert(
    checkpoint: Annotated[
        str, typer.Argument(help="Hugging Face folder, KerasHub preset, or an installed weights package.")
    ],
    out: Annotated[str, typer.Option(help="Folder for the encoder pair.")],
    seq_length: Annotated[int, typer.Option(help="Default length of the preprocessing module.")] = 128,
    query_prompt: Annotated[
        Optional[str],
        typer.Option(help='Prompt put before texts that ask, are compared or classified, such as "query: " for E5.'),
    ] = None,
    passage_prompt: Annotated[
        Optional[str], typer.Option(help='Prompt put before texts that are searched, such as "passage: " for E5.')
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the folder if it exists.")] = False,
) -> None:
    """Make an encoder pair (encoder/ and preprocess/) from another library's checkpoint."""
    import_tensorflow()
    from tl_keras.encoders.convert import convert as run_conversion

    given = {"query": query_prompt, "passage": passage_prompt}
    # Without either option the checkpoint's own settings count.
    told = any(prompt is not None for prompt in given.values())
    prompts = {role: prompt for role, prompt in given.items() if prompt} if told else None
    pair = run_conversion(checkpoint, out, seq_length=seq_length, prompts=prompts, overwrite=overwrite)
    typer.echo(f"encoder pair written to {pair}")


def encoders(
    match: Annotated[str, typer.Argument(help="List only the presets whose name or language contains this.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the presets: language, size, licence, where they come from."""
    from tl_keras.encoders.presets import list_presets

    presets = [p for p in list_presets() if match.lower() in p.name.lower() or match.lower() in p.language.lower()]
    if not presets:
        raise UserError(f"no preset's name or language holds {match!r}; tl-keras encoders lists all.")
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(preset) for preset in presets], ensure_ascii=False, indent=1))
        return
    width = max(len(preset.name) for preset in presets)
    typer.echo(
        f"{'name':{width}}  {'language':12}  {'blocks':>6}  {'width':>5}  {'million weights':>15}  licence, address"
    )
    for p in presets:
        # A language list of a hundred codes would push everything else off the screen.
        language = p.language if len(p.language) <= 12 else "multilingual"
        size = "" if p.parameters is None else f"{p.parameters / 1e6:.1f}"
        sizes = f"{p.layers or '':>6}  {p.width or '':>5}  {size:>15}"
        typer.echo(f"{p.name:{width}}  {language:12}  {sizes}  {p.licence or ''}, {p.handle}")
    if any(preset.name == "ko-en-small" for preset in presets):
        typer.echo(LARGER)
