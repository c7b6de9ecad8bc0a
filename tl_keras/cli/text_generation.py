"""`text-generation` from the command line: a causal language model, and texts or prompts with completions."""

from __future__ import annotations

from tl_keras.cli.running import Columns, Predictions, prefer_keras_3, run_settings
from tl_keras.cli.train import train_command
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

    texts = read_texts(data, **_columns(run, columns))
    return model.perplexity(texts.texts, texts.text_pairs)


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Go on from prompts, given or in a file: CSV with `prompt`, `text` and `tokens`. `tl-keras generate` has more settings."""
    if data is not None:
        from tl_keras.data.generation_texts import read_texts

        texts = list(read_texts(data, **{**_columns(run, columns), "completion": None}).texts)
    frame = model.generate(texts)
    return Predictions(frame.to_csv(index=False), len(frame), "prompts answered")


def stream(model, run: str, data: str, columns: Columns) -> None:
    """A file is read whole: texts are written in batches of like seeds."""


def _columns(run: str, columns: Columns) -> dict:
    config = run_settings(run)
    return {
        "text": columns.text or config.get("text", "text"),
        "prompt": columns.text or config.get("prompt"),
        "completion": columns.text_pair or config.get("completion", "completion"),
        "quoting": config.get("quoting", "auto"),
        "encoding": config.get("encoding", "utf-8"),
    }
