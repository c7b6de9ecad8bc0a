"""Memory of a run that trains a head on a frozen encoder, step by step: what grows with the rows, and what with the epochs?

    python benchmarks/frozen_memory.py --encoder ENCODER --rows 50000 200000

Each number of rows gets a process of its own, which trains a text classifier for two epochs on made-up texts and prints its resident
memory behind each step of the run, in MB. Nothing is written but a temporary folder.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
from pathlib import Path

STEPS = ("read", "load_encoder", "build", "_compute_features", "_fit", "evaluate", "write_page")


def resident() -> int:
    """Megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 1e6)


def measure(encoder: str, rows: int) -> None:
    """Run it and print."""
    from tl_keras._keras import keras
    from tl_keras.tasks import run
    from tl_keras.tasks.task_settings import TextClassificationSettings
    from tl_keras.tasks.text_classification import TextClassificationRun

    found = [("libraries", resident())]
    fit = run.resumable_fit

    class Epochs(keras.callbacks.Callback):
        def on_test_end(self, logs=None):
            found.append(("end of an epoch, batches in memory", resident()))

    def watched(name: str):
        step = getattr(TextClassificationRun, name)

        def run_step(self, *arguments, **options):
            result = step(self, *arguments, **options)
            found.append((name.strip("_"), resident()))
            return result

        return run_step

    run.resumable_fit = lambda *a, callbacks, **options: fit(*a, callbacks=[*callbacks, Epochs()], **options)
    for name in STEPS:
        setattr(TextClassificationRun, name, watched(name))
    chance = random.Random(0)
    words = ["good", "bad", "film", "plot", "actor", "music", "great", "awful"]
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            f"the {chance.choice(words)} {chance.choice(words)} was number {row},{row % 2}\n" for row in range(rows)
        ]
        data = Path(folder, "rows.csv")
        data.write_text("text,label\n" + "".join(lines), "utf-8")
        settings = TextClassificationSettings(
            train=str(data),
            out=f"{folder}/run",
            encoder=encoder,
            transfer="freeze",
            epochs=2,
            batch_size=256,
            seq_length=32,
        )
        TextClassificationRun(settings).execute(verbose=0)
    print(f"{rows:,} rows: " + "; ".join(f"{name} {size}" for name, size in found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000])
    options = parser.parse_args()
    for rows in options.rows:
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(options.encoder, rows))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
