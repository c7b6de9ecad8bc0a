"""The model cards of pre-training runs, from the files that the runs left: their frame, and those of BERT and GPT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tl_keras.pretraining.run_files import read_history


def write_card(
    folder: str | Path, sections: Callable[[Path, dict, dict], dict[str, str]], name: str = "model_card.md"
) -> Path:
    """Write the card of a run: its name, and sections.

    Args:
        folder: A run folder with `config.json` and `metrics.json`.
        sections: Called with the folder and what is in the two files; gives texts by heading. The first stands below the name,
            whatever its heading.
        name: Of the card's file.

    Returns:
        The card.
    """
    folder = Path(folder)
    config, metrics = (json.loads((folder / f"{n}.json").read_text("utf-8")) for n in ("config", "metrics"))
    first, *others = sections(folder, config, metrics).items()
    parts = [f"# {config.get('name') or folder.name}", first[1], *(f"## {h}\n\n{text}" for h, text in others)]
    path = folder / name
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def recipe_lines(config: dict, metrics: dict, *rows: str, words: str = "tokens", after: str = "") -> list[str]:
    """What all recipes say: length and batches, learning rate, how far and how fast it went, versions, the command.

    Args:
        config: `config.json`.
        metrics: `metrics.json`.
        *rows: What the rows of a batch are like.
        words: What is counted.
        after: What follows the learning rate: weight decay, clipping, precision.
    """
    length = f"{config['steps']:,} steps" if config["steps"] else f"{config['minutes']:g} minutes"
    batches = [length, f"batches of {config['batch_tokens']:,} {words} in length buckets", *rows]
    rate = f"peak learning rate {config['peak_learning_rate']:g} after {config['warmup_steps']} steps, then linear to 0"
    pace = f"{metrics['seconds'] / 60:.0f} minutes, {metrics['tokens_per_second']:,.0f} {words}/s"
    if "training_gflop_per_second" in metrics:
        pace += (
            f" = {metrics['training_gflop_per_second']:,.0f} GFLOP/s ({metrics['fraction_of_matmul_rate']:.0%} of what one large float32 "
            "matrix product reached on the machine when the run ended)"
        )
    lines = [
        f"- {'; '.join(batches)}.",
        f"- {'AdamW' if 'weight_decay' in config else 'Adam'}, {rate}; {after}.",
        f"- {metrics['steps']:,} steps, {metrics['tokens']:,} {words}, {pace}.",
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in config["versions"].items()) + ".",
    ]
    return [*lines, f"- Command:\n\n      {metrics['command']}"] if metrics.get("command") else lines


def corpora_table(meta: dict, words: str = "tokens") -> str:
    """The corpora of a run as a table, with what was kept back.

    Args:
        meta: What `config.json` says of the token files.
        words: What is counted.
    """
    lines = ["| file | lines | documents | licence | SHA-256 |", "|---|---|---|---|---|"]
    for corpus in meta["corpora"]:
        kind = "independent lines" if corpus["independent"] else f"{corpus['documents']:,}"
        lines.append(
            f"| {corpus['path']} | {corpus['lines']:,} | {kind} | {corpus['licence']} | `{corpus['sha256'][:16]}…` |"
        )
    counts = meta["counts"]
    lines += ["", f"{counts['train']['tokens']:,} {words} to learn from, {counts['heldout']['tokens']:,} held out"]
    lines[-1] += f" ({meta['heldout_fraction']:.1%} of the documents)."
    if meta["lowercase_fraction"]:
        lines[-1] += f" {meta['lowercase_fraction']:.0%} of the documents, drawn at random, were lower-cased."
    return "\n".join(lines)


def note(folder: Path, name: str, otherwise: str) -> str:
    """What a file of the run folder says, or something else where there is none."""
    path = folder / name
    return path.read_text(encoding="utf-8").strip() if path.is_file() else otherwise


def write_model_card(folder: str | Path) -> Path:
    """Write `model_card.md` of a BERT: what the encoder was made of, how, how good it is, and what it is not good for.

    Downstream scores come from `downstream.md` in the folder, where there is one; a note on limits from `limits.md`.
    """
    return write_card(folder, _bert_sections)


def _bert_sections(folder: Path, config: dict, metrics: dict) -> dict[str, str]:
    return {
        "What": _what(config, metrics),
        "Corpora": corpora_table(config["corpora"]),
        "Recipe": _recipe(config, metrics),
        "Losses": _losses(folder, metrics),
        "Downstream scores": note(folder, "downstream.md", "Not measured yet."),
        "Limits": note(folder, "limits.md", _limits(config)),
    }


def _what(config: dict, metrics: dict) -> str:
    if config["init"]:
        shape = f"BERT encoder, pre-training continued from `{Path(config['init']).name}`"
    else:
        shape = f"BERT encoder of {config['layers']} layers, width {config['width']}"
    case = "uncased" if config["corpora"].get("lower_case") else "cased"
    kind = config["tokenizer"]["kind"] if "tokenizer" in config else "WordPiece"
    rules = ", no NFD" if "tokenizer" not in config else ""
    return (
        f"{shape}, {metrics['parameters'] / 1e6:.2f} million parameters with both heads, {case} {kind} vocabulary "
        f"of {config['corpora']['vocabulary_size']:,} tokens{rules}. Load it with `tl_keras.load_encoder`; the "
        "masked-language-model head is `encoder.mlm`, the next-sentence head is in `nsp_head.npz`."
    )


def _recipe(config: dict, metrics: dict) -> str:
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
        *recipe_lines(
            config,
            metrics,
            f"rows of {lengths}",
            after=f"weight decay {config['weight_decay']:g}; gradient norm at most 1; {config['precision']}",
        ),
    ]
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


def _limits(config: dict) -> str:
    longest = max(row for _, row in config["lengths"])
    later = "were not trained any further" if config["init"] else "are untrained"
    lines = [
        "- It knows the language of its corpora, their time and their prejudices, and little of the world beside them.",
        f"- It saw rows of up to {longest} tokens; the vectors of later positions {later}.",
    ]
    return "\n".join(lines)


def write_gpt_card(folder: str | Path) -> Path:
    """Write `model_card.md` of a GPT: what the model was made of, how, how good it is, and what it is not good for."""
    return write_card(folder, _gpt_sections)


def _gpt_sections(folder: Path, config: dict, metrics: dict) -> dict[str, str]:
    heldout = metrics["heldout"]
    start = "; token embeddings started from word vectors" if config["init_embeddings"] else ""
    measured = (
        f"Perplexity {heldout['perplexity']:,.1f} on documents kept out ({heldout['loss']:.3f} nats a token, ends of texts among the "
        "tokens). It depends on the vocabulary: compare it only with models of the same one. ![loss](plots/loss.png)"
        if heldout
        else "Nothing was held out."
    )
    source = 'Radford et al. 2019, "Language models are unsupervised multitask learners"'
    recipe = recipe_lines(
        config,
        metrics,
        f"dropout {config['dropout']:g}{start}",
        after=f"weight decay {config['weight_decay']:g}; gradient norm at most 1",
    )
    return {
        "What": f"A causal language model: GPT-2 of KerasHub, {config['layers']} layers, width {config['width']}, "
        f"{metrics['parameters'] / 1e6:.2f} million parameters, byte-level vocabulary of {config['corpora']['vocabulary_size']:,} tokens, "
        f"texts of up to {config['max_length']} tokens. `preset/` is a KerasHub preset; `tl-keras train text-generation --model "
        f"{folder.name}` goes on from it.",
        "Corpora": corpora_table(config["corpora"]),
        "Recipe": "\n".join([f"- Next tokens, one document a row, longer ones cut. {source}.", *recipe]),
        "How well it predicts": measured,
        "Limits": "- It writes what its corpora sound like, their prejudices and falsehoods among it, and knows nothing of what is true.\n"
        "- It may repeat texts that it was trained on, word for word.",
    }
