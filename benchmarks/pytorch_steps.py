"""Whether fine-tuning here and in PyTorch is the same computation: twenty steps without dropout, and how much dropout disturbs.

    python benchmarks/pytorch_steps.py torch --data SST2_FOLDER --weights HUGGING_FACE_FOLDER --out steps.npz    # torch, transformers, pandas
    python benchmarks/pytorch_steps.py ours --data SST2_FOLDER --encoder ENCODER_PAIR --out steps.npz            # this package

The first writes what PyTorch computes, the second compares: rates, losses, gradient norms and, behind the last step, logits, from the same
weights (the head's included), on the same batches. Dropout draws other numbers in each library, so that only its strength can be
compared: the deviation of mean-pooled vectors over 300 passes. What differs between whole runs beyond that is chance.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

STEPS, BATCH, PEAK, PASSES = 20, 16, 1e-4, 300
MEASURED = ("rates", "losses", "norms", "logits", "deviation")


def read(folder: Path) -> tuple[list[str], np.ndarray]:
    """Texts and labels of ten batches, which all steps go through in turn."""
    with open(folder / "train.csv", encoding="utf-8", newline="") as file:
        rows = [row for _, row in zip(range(10 * BATCH), csv.DictReader(file), strict=False)]
    return [row["text"] for row in rows], np.array([int(row["label"]) for row in rows])


def rows_of(step: int, count: int) -> np.ndarray:
    """Row numbers of a step's batch."""
    return np.arange(step * BATCH, (step + 1) * BATCH) % count


def run_torch(options) -> None:
    import torch
    from sst2_pytorch import Classifier, optimizer_and_schedule
    from transformers import BertTokenizerFast

    texts, labels = read(options.data)
    torch.manual_seed(0)
    model, tokenizer = Classifier(options.weights), BertTokenizerFast.from_pretrained(options.weights)
    head = model.head.weight.detach().numpy().T.copy(), model.head.bias.detach().numpy().copy()

    def batch(rows):
        return tokenizer([texts[i] for i in rows], padding=True, truncation=True, max_length=128, return_tensors="pt")

    with torch.no_grad():
        model.train()
        deviation = np.stack([model.vectors(batch(range(4))).numpy() for _ in range(PASSES)]).std(0).mean(1)
    model.eval()  # no dropout, yet gradients
    optimizer, schedule = optimizer_and_schedule(model, PEAK, STEPS)
    rates, losses, norms = [], [], []
    for step in range(STEPS):
        rows = rows_of(step, len(texts))
        loss = torch.nn.functional.cross_entropy(model(batch(rows)), torch.tensor(labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    with torch.no_grad():
        logits = model(batch(range(2 * BATCH))).numpy()
    found = dict(zip(MEASURED, (rates, losses, norms, logits[:, 1] - logits[:, 0], deviation), strict=True))
    np.savez(options.out, kernel=head[0], bias=head[1], **found)


def run_ours(options) -> None:
    import tensorflow as tf

    import tl_keras as tlk
    from tl_keras._keras import keras
    from tl_keras.training.step import WarmupLinearDecay

    texts, labels = read(options.data)
    theirs = np.load(options.out)
    encoder = tlk.load_encoder(options.encoder, seq_length=128)
    # The rates, the clipping and the decay of `fit`; its head may learn faster, PyTorch's does not.
    transfer = tlk.Transfer("fine-tune", lr_multipliers={"head": 1.0})
    model = tlk.text_classifier(encoder, ["0", "1"], transfer, pooling="mean", learning_rate=PEAK)
    model.get_layer("logits").set_weights([theirs["kernel"], theirs["bias"]])
    optimizer, loss_of = model.optimizer, keras.losses.SparseCategoricalCrossentropy()
    optimizer.build(model.trainable_variables)
    schedule = next(v for v in vars(optimizer).values() if isinstance(v, WarmupLinearDecay))
    schedule.plan(0, STEPS)

    def batch(rows):
        return next(iter(encoder.batches(tlk.data.Examples.from_lists([texts[i] for i in rows]), batch_size=len(rows))))

    @tf.function(reduce_retracing=True)
    def train(inputs, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(inputs, training=False))
        # Rows of word vectors that occur twice are added up, as while training; else the norm would count them one by one.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, model.trainable_variables)]
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, tf.linalg.global_norm(gradients)

    layer = encoder.layer("fine-tune")

    @tf.function
    def vectors(inputs):
        mask = tf.cast(inputs["input_mask"], tf.float32)[..., None]
        return tf.reduce_sum(layer(inputs, training=True)["sequence_output"] * mask, 1) / tf.reduce_sum(mask, 1)

    few = batch(range(4))
    found = {"deviation": np.stack([vectors(few).numpy() for _ in range(PASSES)]).std(0).mean(1)}
    found["rates"] = [float(schedule(step)) for step in range(STEPS)]
    steps = [rows_of(step, len(texts)) for step in range(STEPS)]
    found["losses"], found["norms"] = zip(
        *(map(float, train(batch(rows), labels[rows])) for rows in steps), strict=True
    )
    chances = np.log(np.asarray(model(batch(range(2 * BATCH)), training=False)))
    found["logits"] = chances[:, 1] - chances[:, 0]
    for name in MEASURED[:-1]:
        print(f"{name}: largest difference {np.abs(np.asarray(found[name]) - theirs[name]).max():.1e}")
    print("deviation under dropout, over PyTorch's:", np.round(found["deviation"] / theirs["deviation"], 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=["torch", "ours"])
    parser.add_argument("--data", type=Path, required=True, help="folder with train.csv of SST-2")
    parser.add_argument("--weights", help="folder with config.json, vocab.txt and the weights")
    parser.add_argument("--encoder", help="the same weights as an encoder pair")
    parser.add_argument("--out", type=Path, default=Path("steps.npz"))
    options = parser.parse_args()
    {"torch": run_torch, "ours": run_ours}[options.library](options)


if __name__ == "__main__":
    main()
