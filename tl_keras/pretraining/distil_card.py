"""The model card of a distillation, from the files that the run left."""

from __future__ import annotations

import json
from pathlib import Path

from tl_keras.pretraining.distil_model import Distiller
from tl_keras.pretraining.model_card import corpora_table, note
from tl_keras.pretraining.run_log import read_history


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
