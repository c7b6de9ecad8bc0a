"""Encoders from the command line: the presets, `convert` and `compress`; and `advise`, which looks at one before training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from tl_keras.cli.commands import add_options, progress_line, this_command, train_or_stop
from tl_keras.cli.running import import_tensorflow, option_parameters
from tl_keras.errors import UserError
from tl_keras.files import refuse_input_as_output
from tl_keras.pretraining.settings import PretrainingSettings
from tl_keras.tasks.settings import TableSettings
from tl_keras.tasks.task_settings import TextClassificationSettings

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


def compress(
    encoder: Annotated[str, typer.Argument(help="Encoder pair to begin with: a preset of this package, or a folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the smaller pair, and for the run that made it.")],
    vocabulary_from: Annotated[
        Optional[list[Path]],
        typer.Option(help="Text file or table: keep the tokens that occur in it. Can be repeated."),
    ] = None,
    languages: Annotated[
        Optional[str], typer.Option(help="Keep the tokens of these languages' frequent words: ko,en.")
    ] = None,
    min_count: Annotated[
        int, typer.Option(min=1, help="How often a token must occur in the files of --vocabulary-from to be kept.")
    ] = 3,
    words: Annotated[
        int, typer.Option(min=1, help="How many of the most frequent words of each of --languages to read.")
    ] = 20_000,
    layers: Annotated[Optional[str], typer.Option(help="Blocks to keep, counted from 0: 1,3,5. Default: all.")] = None,
    distil_on: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Text file, one text a line, or table: learn on it to give the larger encoder's vectors. An empty line ends a "
            "document. Can be repeated."
        ),
    ] = None,
    seq_length: Annotated[int, typer.Option(help="Longest row to learn on, in tokens.")] = 256,
    masked_rows: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Fraction of the rows in which some tokens are masked; the smaller encoder learns to name them, which gives "
            "it a masked-LM head. 0: no head.",
        ),
    ] = 0.5,
    resume: Annotated[
        bool, typer.Option(help="Go on from the checkpoint in OUT; --minutes or --steps may be new.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the encoder pair in OUT.")] = False,
    **learning,
) -> None:
    """Make an encoder smaller: fewer tokens, fewer blocks, and distillation to make up for them."""
    if resume and (distil_on or vocabulary_from or languages or layers):
        raise UserError("--resume takes texts, vocabulary and blocks from the run: leave them out.")
    text = learning.pop("text")
    length = {name: value for name in ("minutes", "steps") if (value := learning.pop(name)) is not None}
    if distil_on and len(length) != 1:
        raise UserError("give the length of the distillation either as --steps or as --minutes.")
    if length and not (distil_on or resume):
        raise UserError("--minutes and --steps are the length of a distillation; say on which texts with --distil-on.")
    if not resume:
        refuse_input_as_output(out, [encoder, *(vocabulary_from or ()), *(distil_on or ())])
    kept = None if layers is None else parse_layers(layers)
    import_tensorflow()
    from tl_keras.pretraining.compress import compress as run_compression

    settings = {
        "peak_learning_rate": learning.pop("learning_rate"),
        "seq_length": seq_length,
        "masked_rows": masked_rows,
    }
    report = run_compression(
        encoder,
        out,
        vocabulary_from=vocabulary_from or (),
        languages=[code.strip() for code in (languages or "").split(",") if code.strip()],
        min_count=min_count,
        words=words,
        layers=kept,
        distil_on=distil_on or (),
        text=text,
        resume=resume,
        overwrite=overwrite,
        on_report=progress_line(),
        command=this_command(),
        run=train_or_stop,
        **(length | (settings | learning if distil_on else {})),
    )
    typer.echo(report)
    typer.echo(f"wrote the encoder pair {out}")


# What a distillation has in common with pre-training; it begins at numbers of its own.
_LEARNING = ("text", "minutes", "steps", "peak_learning_rate", "batch_tokens", "heldout_fraction", "checkpoint_steps",
             "history_steps", "seed")  # fmt: skip
add_options(compress, option_parameters(PretrainingSettings, _LEARNING, learning_rate=1.2e-3, batch_tokens=1536))


def parse_layers(text: str) -> list[int]:
    """Numbers of blocks.

    Example:
        >>> parse_layers("1,3,5")
        [1, 3, 5]
    """
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UserError(f"--layers {text!r}: write the blocks' numbers with commas, for instance 1,3,5.") from None


# typer evaluates these at run time, also on Python 3.10, where only Optional[...] reads as it should.
# ruff: noqa: UP045


def advise(
    train: Annotated[
        str, typer.Option("--train", help="File with labelled texts, as for `train text-classification`.")
    ],
    reference: Annotated[
        Optional[str],
        typer.Option(help="File with texts like those the encoder was made from: a text on each line, or a table."),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=2, help="Texts to measure the learning curve on. More take longer.")
    ] = 3000,
    seed: Annotated[int, typer.Option(help="Random seed of samples, splits and masks.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, as the last line.")] = False,
    out: Annotated[Optional[str], typer.Option(help="Folder for report.md, advice.json and two plots.")] = None,
    **training,
) -> None:
    """Look at labelled texts and an encoder, forecast the accuracy, and recommend how to train."""
    TableSettings(train=train, out=out or "", **{name: training[name] for name in _TRAINING})
    overwrite, seq_length = training.pop("overwrite"), training.pop("seq_length")
    encoder, preprocessor = training.pop("encoder"), training.pop("preprocessor")
    # Whatever is wrong with the files is said before TensorFlow is imported.
    from tl_keras.advice.report import check_free, write_advice
    from tl_keras.advice.texts import label_report
    from tl_keras.data.pairs import read_collection
    from tl_keras.data.table import read_table

    if out is not None:
        refuse_input_as_output(out, [train, encoder, reference])
        check_free(out, overwrite=overwrite)
    known = None if reference is None else read_collection(reference, None, training["encoding"])
    examples = read_table(train, **training)
    label_report(examples)
    import_tensorflow()
    from tl_keras.advice.advise import advise as look
    from tl_keras.encoders.load import load_encoder

    usual = {field.name: field.default for field in dataclasses.fields(TableSettings)}
    given = {"preprocessor": preprocessor, **training}
    to_train = {name: given.pop(name) for name in ("text", "label")}
    to_train |= {name.replace("_", "-"): value for name, value in given.items() if value != usual[name]}
    found = look(
        examples,
        load_encoder(encoder, seq_length, preprocessor),
        reference=known,
        sample=sample,
        seed=seed,
        options={"train": train, **to_train},
    )
    if out is not None:
        write_advice(found, out, overwrite=overwrite)
    typer.echo(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else str(found))
    if out is not None and not as_json:
        typer.echo(f"\nreport.md, advice.json and plots/ are in {out}")


_TRAINING = ("encoder", "text", "text_pair", "seq_length", "overwrite", "preprocessor", "encoding", "separator",
             "quoting", "on_empty")  # fmt: skip
add_options(
    advise,
    option_parameters(TableSettings, _TRAINING) + option_parameters(TextClassificationSettings, ("label",)),
)
