"""The model card of a GPT pre-training run, from the files that the run left."""

from __future__ import annotations

import json
from pathlib import Path


def write_gpt_card(folder: str | Path) -> Path:
    """Write `model_card.md`: what the model was made of, how, how good it is, and what it is not good for.

    Args:
        folder: A run folder with `config.json` and `metrics.json`.

    Returns:
        The card.
    """
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    meta, heldout = config["corpora"], metrics["heldout"]
    length = f"{config['steps']:,} steps" if config["steps"] else f"{config['minutes']:g} minutes"
    start = "; token embeddings started from word vectors" if config["init_embeddings"] else ""
    corpora = [
        f"| {corpus['path']} | {corpus['lines']:,} | {corpus['licence']} | `{corpus['sha256'][:16]}…` |"
        for corpus in meta["corpora"]
    ]
    measured = (
        f"Perplexity {heldout['perplexity']:,.1f} on documents kept out ({heldout['loss']:.3f} nats a token, ends of texts among the "
        f"tokens). It depends on the vocabulary: compare it only with models of the same one. ![loss](plots/loss.png)"
        if heldout
        else "Nothing was held out."
    )
    lines = [
        f"# {config.get('name') or folder.name}",
        "",
        f"A causal language model: GPT-2 of KerasHub, {config['layers']} layers, width {config['width']}, "
        f"{metrics['parameters'] / 1e6:.2f} million parameters, byte-level vocabulary of {meta['vocabulary_size']:,} tokens, texts of up to "
        f"{config['max_length']} tokens. `preset/` is a KerasHub preset; `tl-keras train text-generation --model {folder.name}` goes on from it.",
        "",
        "## Corpora",
        "",
        "| file | lines | licence | SHA-256 |",
        "|---|---|---|---|",
        *corpora,
        "",
        f"{meta['counts']['train']['tokens']:,} tokens to learn from, {meta['counts']['heldout']['tokens']:,} held out "
        f"({meta['heldout_fraction']:.1%} of the documents).",
        "",
        "## Recipe",
        "",
        '- Next tokens, one document a row, longer ones cut. Radford et al. 2019, "Language models are unsupervised multitask learners".',
        f"- {length}; batches of {config['batch_tokens']:,} tokens in length buckets; dropout {config['dropout']:g}{start}.",
        f"- AdamW, peak learning rate {config['peak_learning_rate']:g} after {config['warmup_steps']} steps, then linear to 0; weight decay "
        f"{config['weight_decay']:g}; gradient norm at most 1.",
        f"- {metrics['steps']:,} steps, {metrics['tokens']:,} tokens, {metrics['seconds'] / 60:.0f} minutes, "
        f"{metrics['tokens_per_second']:,.0f} tokens/s.",
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in config["versions"].items()) + ".",
        *([f"- Command:\n\n      {metrics['command']}"] if metrics.get("command") else []),
        "",
        "## How well it predicts",
        "",
        measured,
        "",
        "## Limits",
        "",
        "- It writes what its corpora sound like, their prejudices and falsehoods among it, and knows nothing of what is true.",
        "- It may repeat texts that it was trained on, word for word.",
        "",
    ]
    path = folder / "model_card.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
