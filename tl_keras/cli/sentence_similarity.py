"""`sentence-similarity` from the command line: how alike two texts are, as a number."""

from __future__ import annotations

from tl_keras.cli.running import Columns, Predictions, columns_as_trained, run_settings
from tl_keras.cli.train import train_command
from tl_keras.errors import UserError
from tl_keras.tasks.task_settings import SentenceSimilaritySettings

train = train_command(
    SentenceSimilaritySettings,
    "tl_keras.tasks.sentence_similarity:SentenceSimilarityRun",
    "Learn how alike two texts are from a table of scored pairs.",
)


def evaluate(model, run: str, data: str, columns: Columns):
    """Score a file of scored pairs."""
    from tl_keras.data.pairs import read_scored
    from tl_keras.serving.evaluate import evaluate_similarity

    config = run_settings(run)
    pairs = read_scored(
        data,
        columns.text or config.get("text", "text"),
        (columns.text_pair or config.get("text_pair", "text_pair")) if getattr(model, "takes_pairs", True) else None,
        columns.label or config.get("label", "score"),
        score_range=_wide_range(config),
        separator=columns.separator or config.get("separator"),
        quoting=config.get("quoting", "auto"),
        encoding=config.get("encoding", "utf-8"),
    )
    return evaluate_similarity(model, pairs)


def predict(model, run: str, texts: list[str] | None, data: str | None, columns: Columns) -> Predictions:
    """Score pairs: columns between tabs, for the screen. Files go through `stream`."""
    from tl_keras.serving.predict import predict as score_pairs

    if not getattr(model, "takes_pairs", True):
        frame = score_pairs(model, texts)
    else:
        if len(texts) % 2:
            raise UserError(f"this model compares pairs of texts: give an even number of them, not {len(texts)}.")
        frame = score_pairs(model, texts[::2], texts[1::2])
    return Predictions(frame.to_csv(index=False, sep="\t", float_format="%.4f"), len(frame))


def stream(model, run: str, data: str, columns: Columns) -> dict:
    """How a table of any size is scored; see `predict_file`."""
    return columns_as_trained(run, columns, text_pair="text_pair" if getattr(model, "takes_pairs", True) else None)


def _wide_range(config: dict) -> tuple[float, float] | None:
    # A file that is only scored may go beyond the range that training saw; the correlations do not mind.
    return (-1e30, 1e30) if config.get("score_range") else None
