"""Whose words matter? Words deleted in the order that an explanation gives, against a random order.

    python benchmarks/explain.py --data SST2_FOLDER --run RUN [--texts 100]

`RUN` is a run folder of `tl-keras train text-classification` on train.csv, or with `--train` one is trained first. Of each text of dev.csv
with 10 to 25 words the words are deleted, those with the largest weight for the predicted label first, and after each the probability of
that label is noted: the truer the explanation, the faster it falls. Given are the mean probability after one, two, three and five words,
and over all words (the area under the curve), for Shapley values (`tlk.explain`), for the change when one word alone is deleted, for
integrated gradients on the word embeddings (Sundararajan et al., https://arxiv.org/abs/1703.01365, 16 steps from a zero embedding; of a
Keras model, `--train`), and for five random orders. Raw results go to benchmarks/results/explain.json.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
from rows import add_row

import tl_keras as tlk

RESULTS = Path(__file__).parent / "results" / "explain.json"


def curve(predictor, text: str, words, order, place: int) -> np.ndarray:
    """The label's probability after each deletion, the first entry before any."""
    from tl_keras.serving.explain import delete_words

    kept = [[i for i in range(len(words)) if i not in set(order[:n])] for n in range(len(words) + 1)]
    return predictor.scores([delete_words((text,), words, some)[0] for some in kept])[:, place]


def one_by_one(predictor, text: str, words, place: int) -> np.ndarray:
    from tl_keras.serving.explain import delete_words

    without = [delete_words((text,), words, [j for j in range(len(words)) if j != i])[0] for i in range(len(words))]
    scores = predictor.scores([text, *without])[:, place]
    return scores[0] - scores[1:]


def integrated_gradients(model, text: str, words, place: int, steps: int = 16) -> np.ndarray:
    """Weights of words from gradients along the way from zero embeddings to those of the text.

    Each token gets a row of the embedding table of its own (unused ids), so that a token that comes twice counts twice.
    """
    import tensorflow as tf

    from tl_keras._keras import tf_variable

    encoder = tlk.encoder_of(model)
    (table,) = [v for v in map(tf_variable, model.get_layer("encoder").weights) if "word_embeddings" in v.name]
    batch = {name: value.numpy() for name, value in next(iter(encoder.batches([text]))).items()}
    tokens = encoder.offset_tokenizer(tf.constant([text]))
    starts = tokens.starts.flat_values.numpy()
    # Before the text stand a special token and the encoder's prompt, if it has one; behind it another special token.
    before = int(batch["input_mask"].sum()) - 1 - len(starts)
    ids = batch["input_word_ids"][0, before : before + len(starts)].copy()
    free = np.setdiff1d(np.arange(1000, table.shape[0]), ids)[: len(ids)]
    batch["input_word_ids"][0, before : before + len(ids)] = free
    kept, rows = tf.gather(table, free), tf.gather(table, ids)
    total = np.zeros(rows.shape)
    try:
        for step in range(steps):
            table.scatter_update(tf.IndexedSlices(rows * ((step + 0.5) / steps), free))
            with tf.GradientTape() as tape:
                tape.watch(table)
                score = model({name: tf.constant(value) for name, value in batch.items()}, training=False)[0, place]
            gradient = tape.gradient(score, table)
            total += tf.gather(tf.convert_to_tensor(gradient), free).numpy() / steps
    finally:
        table.scatter_update(tf.IndexedSlices(kept, free))
    by_token = (total * rows.numpy()).sum(axis=1)
    found = np.zeros(len(words))
    for weight, start in zip(by_token, starts, strict=True):
        word = next((i for i, (_, a, b) in enumerate(words) if a <= start < b), None)
        if word is not None:
            found[word] += weight
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--run", help="Run folder or export.")
    how.add_argument("--train", metavar="ENCODER", help="Train this encoder on train.csv first, three epochs.")
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--labels", type=int, default=3000, help="With --train: rows to train on.")
    parser.add_argument(
        "--evaluations", type=int, default=2000, help="Of tlk.explain: how many texts it asks the model."
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    from tl_keras.serving.explain import explain, find_words
    from tl_keras.serving.predict import as_predictor

    dev = tlk.read_table(options.data / "dev.csv")
    model = None
    if options.train:
        train = tlk.read_table(options.data / "train.csv").sample(options.labels)
        encoder = tlk.load_encoder(options.train)
        model = tlk.text_classifier(encoder, train.classes)
        model.fit(tlk.batches(encoder, train, training=True), epochs=3, verbose=2)
    predictor = as_predictor(options.run or model)
    texts = [text for text in dev.texts if 10 <= len(text.split()) <= 25][: options.texts]
    rng = np.random.default_rng(0)
    curves: dict[str, list] = {}
    for text in texts:
        words = find_words((text,))
        place = int(predictor.scores([text])[0].argmax())
        weights = {
            "shapley": explain(predictor, text, evaluations=options.evaluations).words.weight.to_numpy(),
            "one by one": one_by_one(predictor, text, words, place),
        }
        if model is not None:
            weights["integrated gradients"] = integrated_gradients(model, text, words, place)
        for name, values in weights.items():
            order = np.argsort(-values, kind="stable").tolist()
            curves.setdefault(name, []).append(curve(predictor, text, words, order, place))
        five = [curve(predictor, text, words, rng.permutation(len(words)).tolist(), place) for _ in range(5)]
        curves.setdefault("random", []).append(np.mean(five, axis=0))
    for name, found in curves.items():
        row = {
            "model": Path(options.run or options.train).name,
            "order": name,
            "texts": len(texts),
            "evaluations": options.evaluations if name == "shapley" else None,
            "before": round(float(np.mean([c[0] for c in found])), 4),
            **{f"after {n}": round(float(np.mean([c[n] for c in found])), 4) for n in (1, 2, 3, 5)},
            "area": round(float(np.mean([c.mean() for c in found])), 4),
        }
        add_row(RESULTS, row, ("model", "order", "evaluations"))


if __name__ == "__main__":
    main()
