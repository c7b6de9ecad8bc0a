"""What is reported of a compressed encoder: sizes before and after, and the card of a distilled one."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tl_keras.encoders.encoder_weights import EncoderWeights
from tl_keras.encoders.pair_encoder import Network
from tl_keras.encoders.vocabularies import Vocabulary, WordPieceVocabulary
from tl_keras.encoders.vocabulary_trim import VocabularyIds
from tl_keras.pretraining.distil_model import Distiller
from tl_keras.pretraining.model_card import corpora_table, note
from tl_keras.pretraining.run_files import read_history

_TIMED, _REPEATS = 64, 3


@dataclasses.dataclass(frozen=True)
class Size:
    """An encoder's size and speed.

    Attributes:
        weights: numbers it holds.
        megabytes: of them as float32, in units of 10^6 bytes.
        layers: blocks.
        tokens: of its vocabulary.
        tokens_per_text: mean over the texts that were measured on, without special tokens.
        unknown_fraction: fraction of those tokens that are the unknown one.
        texts_per_second: forward passes in one batch, the quickest of three; the machine's load is in it.
    """

    weights: int
    megabytes: float
    layers: int
    tokens: int
    tokens_per_text: float
    unknown_fraction: float
    texts_per_second: float


@dataclasses.dataclass(frozen=True)
class CompressionReport:
    """An encoder before and after.

    Attributes:
        before, after: its sizes.
    """

    before: Size
    after: Size

    def to_dict(self) -> dict:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        rows = [f"{'':18}{'before':>12}{'after':>12}"]
        formats = {
            "weights": ",d",
            "megabytes": ",.1f",
            "layers": "d",
            "tokens": ",d",
            "tokens_per_text": ".2f",
            "unknown_fraction": ".5f",
            "texts_per_second": ",.0f",
        }
        for name, form in formats.items():
            values = (format(getattr(size, name), form) for size in (self.before, self.after))
            rows.append(f"{name.replace('_', ' '):18}" + "".join(f"{value:>12}" for value in values))
        return "\n".join(rows)


def measure(weights: EncoderWeights, vocabulary: Vocabulary, texts: Sequence[str]) -> Size:
    """Measure an encoder.

    Args:
        weights: its network.
        vocabulary: its tokens.
        texts: at least one.
    """
    encoded = VocabularyIds(vocabulary).encode(texts)
    count = sum(map(len, encoded))
    unknown = sum(ids.count(_unknown_id(vocabulary)) for ids in encoded)
    numbers = sum(array.size for array in weights.arrays.values())
    return Size(
        weights=numbers,
        megabytes=4 * numbers / 1e6,
        layers=weights.num_layers,
        tokens=len(vocabulary.tokens),
        tokens_per_text=count / len(texts),
        unknown_fraction=unknown / max(count, 1),
        texts_per_second=_speed(weights, encoded),
    )


def _unknown_id(vocabulary: Vocabulary) -> int:
    if isinstance(vocabulary, WordPieceVocabulary):
        return list(vocabulary.tokens).index(vocabulary.rules.token("unknown"))
    return list(vocabulary.tokens).index(vocabulary.special_tokens["unknown"])


def _speed(weights: EncoderWeights, encoded: Sequence[Sequence[int]]) -> float:
    # Of like length, as batches are put together when texts are encoded.
    rows = sorted((ids[: weights.max_length] for ids in encoded if ids), key=len)[:: max(len(encoded) // _TIMED, 1)]
    if not rows:
        return 0.0
    batch = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, ids in zip(batch, rows, strict=True):
        row[: len(ids)] = ids
    network, mask = Network(weights), tf.ones_like(batch)
    feed = {"input_word_ids": tf.constant(batch), "input_mask": mask, "input_type_ids": tf.zeros_like(batch)}
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        network.forward(feed)["sequence_output"].numpy()
        seconds.append(time.perf_counter() - began)
    return len(rows) / min(seconds)


def write_distil_card(folder: str | Path) -> Path:
    """Write `model_card.md`: whom the encoder learned from, on what, how, and how near it came.

    A note on the teacher and its licence comes from `teacher.md` in the folder, downstream scores from `downstream.md`, a
    note on limits from `limits.md`, where there is one.

    Args:
        folder: a run folder with `config.json`, `metrics.json` and `history.csv`.

    Returns:
        The card.
    """
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    parts = [
        f"# {config.get('name') or folder.name}",
        _what(config, metrics),
        "## Teacher",
        note(folder, "teacher.md", f"`{Path(config['teacher']).name}`; its licence holds for what was made of it."),
        "## Corpora",
        corpora_table(config["corpora"]),
        "## Recipe",
        _recipe(config, metrics),
        "## Losses",
        _losses(folder, metrics),
        "## Downstream scores",
        note(folder, "downstream.md", "Not measured yet."),
        "## Limits",
        note(folder, "limits.md", _limits(config)),
    ]
    path = folder / "model_card.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _what(config: dict, metrics: dict) -> str:
    shape = config["shape"]
    return (
        f"Encoder of {shape['blocks']} blocks, width {shape['width']}, vocabulary of {shape['vocabulary_size']:,} tokens, "
        f"distilled from `{Path(config['teacher']).name}`; {metrics['parameters'] / 1e6:.2f} million weights learned. "
        "Load it with `tl_keras.load_encoder`."
    )


def _recipe(config: dict, metrics: dict) -> str:
    length = f"{config['steps']:,} steps" if config["steps"] else f"{config['minutes']:g} minutes"
    weights = ", ".join(
        f"{name.removesuffix('_vector')} {config[name]:g}"
        for name in ("token", "middle", "text_vector", "likeness", "words")
        if config["masked_rows"] or name != "words"
    )
    embeddings = "learned as well" if config["learn_embeddings"] else "stayed the teacher's"
    prompts = ", ".join(f'"{prompt}" {fraction:.0%}' for prompt, fraction in config["prompts"]) or "none"
    lines = [
        f"- The student began as blocks {', '.join(map(str, config['layers']))} of the teacher (from 0); the embeddings "
        f"{embeddings}. It learned the teacher's last output for every token, the outputs of its blocks before, and the "
        "texts' mean vectors.",
        "  Source: Sanh et al. 2019, https://arxiv.org/abs/1910.01108; Jiao et al. 2020, https://arxiv.org/abs/1909.10351.",
        f"- Weights of the losses: {weights}. Prompts: {prompts}, the rest without.",
        f"- {length}; batches of {config['batch_tokens']:,} tokens of like length, rows of up to {config['seq_length']}.",
        f"- AdamW, peak rate {config['peak_learning_rate']:g} after {config['warmup_steps']} steps, then linear to 0; weight decay "
        f"{config['weight_decay']:g}; gradient norm at most 1; float32.",
        f"- {metrics['steps']:,} steps, {metrics['tokens']:,} tokens, {metrics['seconds'] / 60:.0f} minutes, "
        f"{metrics['tokens_per_second']:,.0f} tokens/s.",
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in config["versions"].items()) + ".",
    ]
    if config["masked_rows"]:
        masked = f"- In {config['masked_rows']:.0%} of the rows {config['mask_fraction']:.0%} of the tokens were masked for the "
        lines.insert(
            3,
            masked
            + "student, which had to give what the teacher gives for the whole text, and to name the masked tokens.",
        )
    if metrics.get("command"):
        lines.append(f"- Command:\n\n      {metrics['command']}")
    return "\n".join(lines)


def _losses(folder: Path, metrics: dict) -> str:
    rows, heldout = read_history(folder), metrics["heldout"]
    names = [name for name in (*Distiller.measures[1:], *Distiller.word_measures) if name in heldout]
    lines = ["| measured on | " + " | ".join(name.removesuffix("_loss") for name in names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    if rows:
        lines.append("| training, last stretch | " + " | ".join(rows[-1][name] or "-" for name in names) + " |")
    lines.append("| held-out texts | " + " | ".join(f"{heldout[name]:.4f}" for name in names) + " |")
    note = (
        "Squared distances as a fraction of the teacher's variance: 0 is the teacher, 1 a student that gives its mean."
    )
    if "words_loss" in heldout:
        note += " Words: the cross-entropy of masked tokens in nats, and the fraction found."
    return "\n".join([*lines, "", f"{note} ![losses](plots/loss.png)"])


def _limits(config: dict) -> str:
    return (
        f"- It was distilled on the texts above and on rows of up to {config['seq_length']} tokens; on other kinds of text "
        "and longer ones it is farther from its teacher than the losses say."
    )
