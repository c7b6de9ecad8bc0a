"""What partial freezing and cut layers save: seconds a training step, and bytes of the export.

    TF_USE_LEGACY_KERAS=1 python benchmarks/transfer_speed.py
    TF_USE_LEGACY_KERAS=0 python benchmarks/transfer_speed.py

One batch of 32 x 64 tokens, the same for all. The ways take turns, a step each, and the first turns, which trace, are not counted:

- `fine-tune`: everything learns;
- `top-1`: the top block, the pooler and the head; the blocks below cost no backward pass;
- `freeze`: the head alone;
- `half`: the first half of the blocks (`layers=`), all of which learn.

`half` and `fine-tune` are exported as well, and what lies in the folder is compared with the bytes of the weights that the model is left with.
Results, a row for each Keras: benchmarks/results/transfer_speed.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from rows import add_row

import tl_keras as tlk
from tl_keras._keras import KERAS_NAME

RESULTS = Path(__file__).parent / "results" / "transfer_speed.json"


def one_batch(rows: int, length: int):
    """Token ids drawn at random, no padding, and labels."""
    rng = np.random.default_rng(0)
    ids = rng.integers(10, 8000, size=(rows, length)).astype("int32")
    inputs = {"input_word_ids": ids, "input_mask": np.ones_like(ids), "input_type_ids": np.zeros_like(ids)}
    return inputs, rng.integers(0, 2, size=rows)


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def weight_bytes(model) -> int:
    return sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--turns", type=int, default=30)
    options = parser.parse_args()

    whole = tlk.load_encoder(options.encoder, seq_length=options.length)
    build = {"classes": ["a", "b"], "pooling": "mean", "learning_rate": 5e-5}
    models = {way: tlk.text_classifier(whole, transfer=way, **build) for way in ("fine-tune", "top-1", "freeze")}
    blocks = sum(row.part.startswith("block") for row in tlk.describe(models["fine-tune"]).rows)
    half = tlk.load_encoder(options.encoder, seq_length=options.length, layers=blocks // 2)
    models["half"] = tlk.text_classifier(half, transfer="fine-tune", **build)
    inputs, labels = one_batch(options.rows, options.length)
    seconds = {way: [] for way in models}
    for turn in range(options.turns + 3):
        for way, model in models.items():
            started = time.perf_counter()
            model.train_on_batch(inputs, labels)
            if turn >= 3:
                seconds[way].append(time.perf_counter() - started)
    median = {way: statistics.median(values) for way, values in seconds.items()}
    row = {
        "keras": KERAS_NAME,
        "encoder": Path(options.encoder).name,
        "blocks": blocks,
        "batch": [options.rows, options.length],
        "turns": options.turns,
        "step_seconds": {way: round(value, 4) for way, value in median.items()},
        "step_seconds_range": {way: [round(min(v), 4), round(max(v), 4)] for way, v in seconds.items()},
        "top-1 fraction of a full step": round(median["top-1"] / median["fine-tune"], 3),
        "half times as fast": round(median["fine-tune"] / median["half"], 2),
    }
    with tempfile.TemporaryDirectory() as folder:
        for way in ("fine-tune", "half"):
            tlk.export(models[way], Path(folder) / way)
            total, weights = bytes_of(Path(folder) / way), weight_bytes(models[way])
            row[f"export of {way}"] = {"bytes": total, "weights": weights, "beside them": total - weights}
    add_row(RESULTS, row, ("keras", "encoder"))


if __name__ == "__main__":
    main()
