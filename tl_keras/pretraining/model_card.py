"""The model card of a BERT pre-training run, from the files that the run left."""

from __future__ import annotations

import json
from pathlib import Path

from tl_keras.pretraining.run_log import read_history


def write_model_card(folder: str | Path) -> Path:
    """Write `model_card.md`: what the encoder was made of, how, how good it is, and what it is not good for.

    Downstream scores come from `downstream.md` in the folder, where there is one; a note on limits from `limits.md`.

    Args:
        folder: A run folder with `config.json`, `metrics.json` and `history.csv`.

    Returns:
        The card.
    """
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    parts = [
        f"# {config.get('name') or folder.name}",
        _what(config, metrics),
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
    if config["init"]:
        shape = f"BERT encoder, pre-training continued from `{Path(config['init']).name}`"
    else:
        shape = f"BERT encoder of {config['layers']} layers, width {config['width']}"
    case = "uncased" if config["corpora"].get("lower_case") else "cased"
    return (
        f"{shape}, {metrics['parameters'] / 1e6:.2f} million parameters with both heads, {case} WordPiece vocabulary "
        f"of {config['corpora']['vocabulary_size']:,} tokens, no NFD. Load it with `tl_keras.load_encoder`; the "
        "masked-language-model head is `encoder.mlm`, the next-sentence head is in `nsp_head.npz`."
    )


def corpora_table(meta: dict) -> str:
    """The corpora of a run as a table, with what was kept back."""
    lines = ["| file | lines | documents | licence | SHA-256 |", "|---|---|---|---|---|"]
    for corpus in meta["corpora"]:
        kind = "independent lines" if corpus["independent"] else f"{corpus['documents']:,}"
        lines.append(
            f"| {corpus['path']} | {corpus['lines']:,} | {kind} | {corpus['licence']} | `{corpus['sha256'][:16]}…` |"
        )
    counts = meta["counts"]
    lines += ["", f"{counts['train']['tokens']:,} tokens to learn from, {counts['heldout']['tokens']:,} held out"]
    lines[-1] += f" ({meta['heldout_fraction']:.1%} of the documents)."
    if meta["lowercase_fraction"]:
        lines[-1] += f" {meta['lowercase_fraction']:.0%} of the documents, drawn at random, were lower-cased."
    return "\n".join(lines)


def _recipe(config: dict, metrics: dict) -> str:
    length = f"{config['steps']:,} steps" if config["steps"] else f"{config['minutes']:g} minutes"
    lengths = ", then ".join(f"{row} tokens until {fraction:.0%}" for fraction, row in config["lengths"])
    start = {None: "random weights"}.get(config["init_embeddings"], "word vectors of the tokens, the rest random")
    if config["init"]:
        start = f"`{Path(config['init']).name}`"
    units = "whole words" if config["whole_words"] else "single tokens"
    lines = [
        f"- Masked words: {config['mask_fraction']:.0%} of the tokens ({config['mask']:.0%} `[MASK]`, "
        f"{config['random']:.0%} random, the rest unchanged), {units}; "
        "new masks each epoch. Next sentence: half true, half from another document of the same file.",
        "  Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805.",
        f"- Start: {start}. Dropout {config['dropout']:g} while pre-training, {config['finetune_dropout']:g} in the "
        "pair.",
        f"- {length}; batches of {config['batch_tokens']:,} tokens in length buckets; rows of {lengths}.",
        f"- AdamW, peak rate {config['peak_learning_rate']:g} after {config['warmup_steps']} steps, then linear to 0; weight "
        f"decay {config['weight_decay']:g}; gradient norm at most 1; {config['precision']}.",
        f"- {metrics['steps']:,} steps, {metrics['tokens']:,} tokens, {metrics['seconds'] / 60:.0f} minutes, "
        f"{metrics['tokens_per_second']:,.0f} tokens/s = {metrics['training_gflop_per_second']:,.0f} GFLOP/s "
        f"({metrics['fraction_of_matmul_rate']:.0%} of what one large float32 matrix product reached on the machine "
        "when the run ended).",
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in config["versions"].items()) + ".",
    ]
    if metrics.get("command"):
        lines.append(f"- Command:\n\n      {metrics['command']}")
    return "\n".join(lines)


def _losses(folder: Path, metrics: dict) -> str:
    heldout, rows = metrics["heldout"], read_history(folder)
    lines = ["| measured on | masked-word loss | masked-word accuracy | next-sentence loss | next-sentence accuracy |"]
    lines.append("|---|---|---|---|---|")
    if rows:
        lines.append("| training, last stretch | " + " | ".join(rows[-1][n] or "-" for n in _ORDER) + " |")
    lines.append(
        "| held-out documents | " + " | ".join(f"{heldout[n]:.4f}" if n in heldout else "-" for n in _ORDER) + " |"
    )
    return "\n".join([*lines, "", "Held out: 15 % single tokens masked. ![losses](plots/loss.png)"])


_ORDER = ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")


def note(folder: Path, name: str, otherwise: str) -> str:
    """What a file of the run folder says, or something else where there is none."""
    path = folder / name
    return path.read_text(encoding="utf-8").strip() if path.is_file() else otherwise


def _limits(config: dict) -> str:
    longest = max(row for _, row in config["lengths"])
    later = "were not trained any further" if config["init"] else "are untrained"
    lines = [
        "- It knows the language of its corpora, their time and their prejudices, and little of the world beside them.",
        f"- It saw rows of up to {longest} tokens; the vectors of later positions {later}.",
    ]
    return "\n".join(lines)
