"""Language models from the command line: `text-generation` as a task, `generate`, and `fill-mask`. Importing this loads no TensorFlow."""

from __future__ import annotations

import sys
from typing import Annotated, Optional

import typer

from tl_keras.cli.commands import train_command
from tl_keras.cli.running import Columns, Predictions, import_tensorflow, prefer_keras_3, run_settings
from tl_keras.data.text_files import kind_of
from tl_keras.errors import UserError
from tl_keras.tasks.task_settings import TextGenerationSettings

train = train_command(
    TextGenerationSettings,
    "tl_keras.tasks.text_generation:TextGenerationRun",
    "Let a causal language model go on learning from texts, or from prompts with completions (Keras 3).",
    before=prefer_keras_3,
)


def evaluate(model, run: str, data: str, columns: Columns):
    """Perplexity on a file; gives a `PerplexityReport`."""
    from tl_keras.data.generation_texts import read_texts

    texts = read_texts(data, **_columns(run, data, columns))
    return model.perplexity(texts.texts, texts.text_pairs)


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Go on from prompts, given or in a file: CSV with `prompt`, `text` and `tokens`. `tl-keras generate` has more settings."""
    if data is not None:
        from tl_keras.data.generation_texts import read_texts

        texts = list(read_texts(data, **{**_columns(run, data, columns), "completion": None}).texts)
    frame = model.generate(texts)
    return Predictions(frame.to_csv(index=False), len(frame), "prompts answered")


def stream(model, run: str, data: str, columns: Columns) -> None:
    """A file is read whole: texts are written in batches of like seeds."""


def _columns(run: str, data: str, columns: Columns) -> dict:
    """What `read_texts` is told: whole texts where the file has no columns, or the run learned from whole texts."""
    config = run_settings(run)
    whole = kind_of(data) == ".txt" or not (config.get("prompt") or columns.text_pair)
    return {
        "text": columns.text or config.get("text", "text"),
        "prompt": None if whole else columns.text or config.get("prompt"),
        "completion": columns.text_pair or config.get("completion", "completion"),
        "quoting": config.get("quoting", "auto"),
        "encoding": config.get("encoding", "utf-8"),
    }


def generate(
    run: Annotated[
        str, typer.Argument(help="Run of text-generation or pretrain gpt, an export, or a model that KerasHub reads.")
    ],
    prompt: Annotated[
        Optional[list[str]],  # noqa: UP045  (typer reads annotations at run time, also on Python 3.10)
        typer.Option(help="Text to continue. Can be repeated. Default: an empty one."),
    ] = None,
    max_length: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Most tokens of prompt and text together. Default: as many as the model can write."),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            help="Sampling temperature: below 1, likely tokens become more likely; 0 takes the most likely one each time."
        ),
    ] = 1.0,
    top_k: Annotated[int, typer.Option(help="Choose among the N most likely tokens; 0: among all.")] = 0,
    top_p: Annotated[
        float,
        typer.Option(help="Choose among the most likely tokens that have this probability together; 1: among all."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Random seed of the choices; text number i uses seed + i.")] = 0,
    stop: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="End a text before this string. Can be repeated."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many texts to write for each prompt.")] = 1,
) -> None:
    """Write texts with a causal language model; a single one appears as it is written."""
    prefer_keras_3()
    import_tensorflow()
    generator = _load(run)
    prompts = [each for each in prompt or [""] for _ in range(count)]
    settings = {"max_length": max_length, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    settings["stop"] = tuple(stop or ())
    if len(prompts) > 1:
        written = generator.generate(prompts, **settings)
        for before, text in zip(written["prompt"], written["text"], strict=True):
            typer.echo(before + text)
        return
    bits = generator.stream(prompts[0], **settings)
    # The first before the prompt is shown: it may be refused.
    first = next(bits, "")
    sys.stdout.write(prompts[0] + first)
    for bit in bits:
        sys.stdout.write(bit)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _load(run: str):
    """What writes: an export where there is one, for it needs no Keras."""
    from tl_keras.saved_models import find_saved_model
    from tl_keras.serving.predict import load_exported

    try:
        find_saved_model(run)
    except UserError:
        from tl_keras.models.builders import text_generator
        from tl_keras.models.language_model import load_language_model
        from tl_keras.serving.predict import as_predictor

        return as_predictor(text_generator(load_language_model(run)))
    generator = load_exported(run)
    if generator.task != "text-generation":
        raise UserError(
            f"{run} holds a model for {generator.task}, which writes no texts; give one of text-generation."
        )
    return generator


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
