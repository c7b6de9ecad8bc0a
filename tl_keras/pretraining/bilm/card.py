"""The README of a biLM run, from the files that the run left."""

from __future__ import annotations

import json
from pathlib import Path


def write_readme(folder: str | Path) -> Path:
    """Write `README.md`: what the biLM was made of, how, how good it is, and how to use it.

    Args:
        folder: A run folder with `config.json` and `metrics.json`.

    Returns:
        The file.
    """
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    parts = [
        f"# {config.get('name') or folder.name}",
        _what(config, metrics),
        "## Use",
        _USE.format(wide=2 * config["width"], layers=config["layers"]),
        "## Corpora",
        _corpora(config),
        "## Recipe",
        _recipe(config, metrics),
        "## Perplexity",
        _perplexity(config, metrics),
        "## Limits",
        _limits(config),
    ]
    path = folder / "README.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


_USE = """A SavedModel with the inputs and outputs of TF Hub's `elmo/3`; the layers are frozen.

    encoder = tl_keras.elmo_encoder("this folder")          # for text_classifier and token_classifier
    layer = tl_keras.KerasLayer("this folder")              # strings -> a dict of vectors

`default` [batch, {wide}] is the mean of `elmo` [batch, words, {wide}], the plain average of `word_emb` (taken twice) and
the outputs of the {layers} layers, `lstm_outputs1` and so on. The signature `tokens` takes words that were split before."""


def _what(config: dict, metrics: dict) -> str:
    cells = f", {config['cells']:,} cells projected to {config['width']}" if config["cells"] else ""
    if config["tokens"] == "chars":
        read = f"a character CNN over bytes of UTF-8, {sum(n for _, n in config['filters'])} filters"
    else:
        read = "word embeddings"
    case = "lower-cased" if config["lower_case"] else "cased"
    return (
        f"A biLM (ELMo): {config['layers']} LSTM layers of width {config['width']} in each direction{cells}, above "
        f"{read}. {metrics['parameters'] / 1e6:.2f} million parameters with the softmax over "
        f"{config['vocabulary_size']:,} words, {case}."
    )


def _corpora(config: dict) -> str:
    meta = config["corpora"]
    lines = ["| file | lines | licence | SHA-256 |", "|---|---|---|---|"]
    for corpus in meta["corpora"]:
        lines.append(f"| {corpus['path']} | {corpus['lines']:,} | {corpus['licence']} | `{corpus['sha256'][:16]}…` |")
    counts = meta["counts"]
    lines += [
        "",
        f"{counts['train']['tokens']:,} words to learn from, {counts['heldout']['tokens']:,} held out "
        f"({meta['heldout_fraction']:.1%} of the documents); {meta['vocabulary_size']:,} distinct words.",
    ]
    return "\n".join(lines)


def _recipe(config: dict, metrics: dict) -> str:
    length = f"{config['steps']:,} steps" if config["steps"] else f"{config['minutes']:g} minutes"
    samples = config["softmax_samples"]
    softmax = f"sampled softmax, {samples:,} words a batch" if samples else "full softmax"
    lines = [
        "- The sum of the log-likelihoods of both directions, one sentence a row, each from a zero state. Peters et al. "
        "2018, https://arxiv.org/abs/1802.05365.",
        f"- {length}; batches of {config['batch_tokens']:,} words in length buckets; rows of at most "
        f"{config['max_length']} words; {softmax}; dropout {config['dropout']:g}.",
        f"- Adam, peak rate {config['peak_learning_rate']:g} after {config['warmup_steps']} steps, then linear to 0; gradient "
        f"norm at most {config['clip_norm']:g}.",
        f"- {metrics['steps']:,} steps, {metrics['tokens']:,} words (ends of sentences among them), "
        f"{metrics['seconds'] / 60:.0f} minutes, {metrics['tokens_per_second']:,.0f} words/s.",
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in config["versions"].items()) + ".",
    ]
    if config["vectors"]:
        lines.append(f"- Word embeddings started from `{Path(config['vectors']).name}`.")
    if metrics.get("command"):
        lines.append(f"- Command:\n\n      {metrics['command']}")
    return "\n".join(lines)


def _perplexity(config: dict, metrics: dict) -> str:
    heldout = metrics["heldout"]
    if not heldout:
        return "Nothing was held out."
    lines = ["| held-out documents | forward | backward |", "|---|---|---|"]
    for name, form in (("perplexity", ",.1f"), ("loss", ".4f")):
        lines.append(f"| {name} | " + " | ".join(format(heldout[f"{d}_{name}"], form) for d in _DIRECTIONS) + " |")
    unknown = metrics["heldout_unknown_fraction"]
    note = (
        f"By the full softmax over {config['vocabulary_size']:,} words; {unknown:.1%} of the held-out words are none of "
        "them and count as the one word `<UNK>`, so figures compare only at the same vocabulary. "
        "![losses](plots/loss.png)"
    )
    return "\n".join([*lines, "", note])


_DIRECTIONS = ("forward", "backward")


def _limits(config: dict) -> str:
    lines = ["- It knows the language of its corpora, their time and their prejudices, and little of the world beside."]
    lines.append(f"- It saw rows of up to {config['max_length']} words, each sentence by itself.")
    if config["tokens"] == "words":
        lines.append("- It reads words that are not in its vocabulary as one unknown word.")
    return "\n".join(lines)
