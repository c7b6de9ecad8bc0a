"""What a second device and a second process bring: examples per second of fine-tuning, on this machine.

    TF_USE_LEGACY_KERAS=1 python benchmarks/scaling.py --encoder ko-en-small

The same model, data and global batch on one device, on two logical devices of one process (MirroredStrategy), and in two processes
(MultiWorkerMirroredStrategy on 127.0.0.1, Keras 2 only). Each case runs in processes of its own; the first epoch, in which the step is
traced, is not counted. Efficiency is the speed, divided by that of one device and by the number of replicas.

Mind what is measured where there is no second device: all cases share the same processor cores, so that two replicas cannot be
faster than one; the numbers then say what sharing costs. With GPUs, one device and all of them are compared (`--gpus`).
Results: benchmarks/results/scaling.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tl_keras.training.cluster import run_workers

RESULTS = Path(__file__).parent / "results" / "scaling.json"
CASES = {
    "one device": ("one-device", 1),
    "two logical devices": ("mirrored", 2),
    "two worker processes": ("multi-worker", 2),
}


def measure(options) -> None:
    """One case, in this process; prints a line of JSON."""
    from tl_keras.training.strategy import get_strategy

    virtual = 2 if options.case == "mirrored" and not options.gpus else None
    strategy = get_strategy(options.case, virtual_devices=virtual)

    import tl_keras as tlk
    from tl_keras._keras import KERAS_NAME, keras
    from tl_keras.training.resume import resumable_fit

    class Clock(keras.callbacks.Callback):
        seconds: list[float] = []  # noqa: RUF012

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.started)

    examples = tlk.read_table(options.data, text=options.text, label=options.label).sample(options.rows)
    encoder = tlk.load_encoder(options.encoder, seq_length=64)
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = tlk.text_classifier(encoder, examples.classes, options.transfer)
    batches = encoder.batches(examples, training=True, batch_size=options.batch_size, drop_remainder=True)
    resumable_fit(model, batches, epochs=options.epochs + 1, callbacks=[Clock()], verbose=0)
    rows = int(batches.cardinality()) * options.batch_size
    best = rows / min(Clock.seconds[1:])
    print(
        json.dumps(
            {"replicas": strategy.num_replicas_in_sync, "examples_per_second": round(best, 1), "keras": KERAS_NAME}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(__file__).resolve().parents[1] / "data" / "reviews_en.csv"
    parser.add_argument("--data", default=str(data))
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--transfer", default="fine-tune")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--gpus", action="store_true", help="mirrored over the GPUs of this machine")
    parser.add_argument("--case", choices=[name for name, _ in CASES.values()], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.case:
        measure(options)
        return
    results = {
        "encoder": options.encoder,
        "transfer": options.transfer,
        "batch_size": options.batch_size,
        "cores": os.cpu_count(),
    }
    for title, (case, _) in CASES.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
        if case == "multi-worker":
            lines: list[str] = []
            if run_workers(command, 2, say=lines.append):
                print(f"{title}: failed:", *lines[-5:], sep="\n", file=sys.stderr)
                continue
            found = next(json.loads(line.split("] ", 1)[1]) for line in lines if '{"replicas"' in line)
        else:
            found = json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            )
        results["keras"] = found.pop("keras")
        results[title] = found
        alone = results["one device"]["examples_per_second"]
        found["efficiency"] = round(found["examples_per_second"] / alone / found["replicas"], 2)
        print(f"{title:22} {found['examples_per_second']:8.1f} examples/s, efficiency {found['efficiency']:.2f}")
    if not options.gpus:
        results["note"] = (
            "all cases share the same cores: two replicas cannot be faster than one; this is what sharing costs"
        )
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
