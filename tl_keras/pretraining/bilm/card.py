"""The README of a biLM run, from the files that the run left."""

from __future__ import annotations

from pathlib import Path

from tl_keras.pretraining.model_card import corpora_table, recipe_lines, write_card


def write_readme(folder: str | Path) -> Path:
    """Write `README.md`: what the biLM was made of, how, how good it is, and how to use it.

    Args:
        folder: A run folder with `config.json` and `metrics.json`.

    Returns:
        The file.
    """
    return write_card(folder, _sections, "README.md")


def _sections(folder: Path, config: dict, metrics: dict) -> dict[str, str]:
    meta = config["corpora"]
    return {
        "What": _what(config, metrics),
        "Use": _USE.format(wide=2 * config["width"], layers=config["layers"]),
        "Corpora": f"{corpora_table(meta, 'words')} {meta['vocabulary_size']:,} distinct words.",
        "Recipe": _recipe(config, metrics),
        "Perplexity": _perplexity(config, metrics),
        "Limits": _limits(config),
    }


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


def _recipe(config: dict, metrics: dict) -> str:
    samples = config["softmax_samples"]
    softmax = f"sampled softmax, {samples:,} words a batch" if samples else "full softmax"
    lines = [
        "- The sum of the log-likelihoods of both directions, one sentence a row, each from a zero state. Peters et al. "
        "2018, https://arxiv.org/abs/1802.05365.",
        *recipe_lines(
            config,
            metrics,
            f"rows of at most {config['max_length']} words",
            softmax,
            f"dropout {config['dropout']:g}",
            words="words",
            after=f"gradient norm at most {config['clip_norm']:g}",
        ),
    ]
    if config["vectors"]:
        lines.insert(1, f"- Word embeddings started from `{Path(config['vectors']).name}`.")
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
