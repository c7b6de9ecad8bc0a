"""The fine-tuned rows of benchmarks/sst2.py in PyTorch: same weights, texts, epochs, rates and schedule, another library.

    python benchmarks/sst2_pytorch.py --data SST2_FOLDER --weights HUGGING_FACE_FOLDER

Needs torch and transformers, and neither TensorFlow nor Keras: run it in an environment of its own, with this repository on
PYTHONPATH. Batches hold texts of like length, as ours do. Raw results go to benchmarks/results/sst2_pytorch.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from rows import add_row
from transformers import BertModel, BertTokenizerFast

from tl_keras.data.table import read_table

RESULTS = Path(__file__).parent / "results" / "sst2_pytorch.json"
FINE_TUNE = {1000: (5, 1e-4), 6908: (3, 5e-5)}
BATCH, POOL = 32, 64


class Classifier(torch.nn.Module):
    """Mean pooling, dropout 0.1 and a softmax layer on the encoder."""

    def __init__(self, weights: str):
        super().__init__()
        self.encoder = BertModel.from_pretrained(weights, add_pooling_layer=False)
        self.dropout = torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(self.encoder.config.hidden_size, 2)

    def vectors(self, inputs):
        """Mean-pooled vectors `[batch, width]` of a tokenized batch."""
        hidden = self.encoder(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)

    def forward(self, inputs):
        """Logits `[batch, 2]` of a tokenized batch."""
        return self.head(self.dropout(self.vectors(inputs)))


def optimizer_and_schedule(model: torch.nn.Module, peak: float, steps: int):
    """AdamW that decays matrices only, and its rate: up over a tenth of the steps, then down to zero."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, eps=1e-6)
    warm = max(int(steps * 0.1), 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, max((steps - step) / max(steps - warm, 1), 0.0))
    )
    return optimizer, schedule


def batches(lengths: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Row numbers of batches: shuffled, sorted by length within pools, the batches shuffled again."""
    order = random.permutation(len(lengths))
    found = []
    for start in range(0, len(order), BATCH * POOL):
        pool = order[start : start + BATCH * POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
    return [found[i] for i in random.permutation(len(found))]


def fine_tune(train, dev, weights: str, seed: int) -> float:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    epochs, peak = FINE_TUNE[len(train)]
    tokenizer = BertTokenizerFast.from_pretrained(weights)
    model = Classifier(weights)

    def encode(texts):
        return tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")

    lengths = np.array([len(ids) for ids in tokenizer(train.texts.tolist(), truncation=True, max_length=128).input_ids])
    optimizer, schedule = optimizer_and_schedule(model, peak, epochs * -(-len(train) // BATCH))
    labels = torch.tensor(np.asarray(train.labels))
    model.train()
    for _ in range(epochs):
        for rows in batches(lengths, random):
            loss = torch.nn.functional.cross_entropy(model(encode(train.texts[rows])), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        right = sum(
            int((model(encode(dev.texts[i : i + 64])).argmax(-1).numpy() == dev.labels[i : i + 64]).sum())
            for i in range(0, len(dev), 64)
        )
    return right / len(dev)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True, help="folder with config.json, vocab.txt and the weights")
    parser.add_argument("--labels", type=int, nargs="+", default=[1000, 6908])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    train, dev = read_table(options.data / "train.csv"), read_table(options.data / "dev.csv")
    for labels in options.labels:
        for seed in options.seeds:
            started = time.perf_counter()
            accuracy = fine_tune(train.sample(labels, seed), dev, options.weights, seed)
            row = {
                "labels": labels,
                "seed": seed,
                "accuracy": round(100 * accuracy, 2),
                "seconds": round(time.perf_counter() - started, 1),
                "torch": torch.__version__,
            }
            add_row(RESULTS, row, ("labels", "seed"))


if __name__ == "__main__":
    main()
