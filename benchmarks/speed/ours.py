"""The ways of `make bench` that use this package. Run by run.py, each in a process of its own."""

from __future__ import annotations

import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import BATCH, RATE, clock, main, peak_mb, read_texts, resident_mb


def load(options):
    import tl_keras as tlk

    texts, labels = read_texts(options.data, options.texts, options.count)
    examples = tlk.data.Examples.from_lists(texts, [str(label) for label in labels])
    return examples, tlk.load_encoder(options.encoder, seq_length=options.length)


def real_tokens(encoder, examples) -> dict:
    """How many tokens the texts have, padding not counted, and how many FLOPs one pass forward over them must take."""
    import numpy as np

    masks = [batch["input_mask"].numpy() for batch, *_ in encoder.batches(examples, batch_size=BATCH)]
    lengths = np.concatenate([mask.sum(1) for mask in masks]).astype(float)
    # What each token is multiplied with: the kernels of the blocks (two operations a weight). Scores and mixing come on top: two products
    # of length x width for each token and block. The pooler sees one token a text; embeddings are looked up.
    layer = encoder.layer("freeze")
    parts = {name: [tuple(weight.shape) for weight in weights] for name, weights in layer.part_weights().items()}
    blocks = [
        shapes for shapes in parts.values() if sum(len(shape) >= 2 and math.prod(shape) > 4096 for shape in shapes) >= 6
    ]
    kernels = sum(
        math.prod(shape) for shapes in blocks for shape in shapes if len(shape) >= 2 and math.prod(shape) > 4096
    )
    width = min(shape[0] for shapes in blocks for shape in shapes if len(shape) == 1)
    flops = 2.0 * kernels * lengths.sum() + 4.0 * len(blocks) * width * float((lengths**2).sum())
    return {"tokens": int(lengths.sum()), "forward_flops": flops}


def fine_tune(options) -> dict:
    """An epoch of fine-tuning, after one in which everything is traced."""
    import tl_keras as tlk

    examples, encoder = load(options)
    model = tlk.text_classifier(encoder, examples.classes, "fine-tune", learning_rate=RATE)
    batches = encoder.batches(examples, training=True, batch_size=BATCH)
    model.fit(batches, epochs=1, verbose=0)
    with clock() as times:
        model.fit(batches, epochs=1, verbose=0)
    return {**times, "items": len(examples), **real_tokens(encoder, examples)}


def frozen(options) -> dict:
    """A head trained for so many epochs on a frozen encoder, tracing and all."""
    import tl_keras as tlk

    examples, encoder = load(options)
    model = tlk.text_classifier(encoder, examples.classes, "freeze")
    with clock() as times:
        cached = tlk.cache_features(model, examples)
        cached.model.fit(cached.batches(examples, training=True, batch_size=BATCH), epochs=options.epochs, verbose=0)
    accuracy = float((tlk.predict(model, examples.texts.tolist()).label == examples.label_names).mean())
    return {**times, "items": len(examples), "train_accuracy": accuracy}


def encode(options) -> dict:
    """Vectors of texts, after as many as warm it up."""
    import tl_keras as tlk

    examples, encoder = load(options)
    texts = examples.texts.tolist()
    tlk.encode(encoder, texts)
    with clock() as times:
        tlk.encode(encoder, texts)
    return {**times, "items": len(texts), **real_tokens(encoder, examples)}


def tokenize(options) -> dict:
    """The input pipeline alone."""
    examples, encoder = load(options)
    for _ in encoder.batches(examples, training=True, batch_size=BATCH):
        pass
    with clock() as times:
        for _ in encoder.batches(examples, training=True, batch_size=BATCH):
            pass
    return {**times, "items": len(examples), "peak_mb": peak_mb()}


def export(options) -> dict:
    """The export that `serve` is asked to measure."""
    import tl_keras as tlk

    examples, encoder = load(options)
    with clock() as times:
        tlk.export(tlk.text_classifier(encoder, examples.classes, "freeze"), options.folder)
    return times


def serve(options) -> dict:
    """An export in a process that knows TensorFlow and tensorflow_text only: cold start, batch 1, batch 64, memory, size on disk."""
    texts, _ = read_texts(options.data, options.texts, options.count)
    started = time.perf_counter()
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    loaded = tf.saved_model.load(str(options.folder))
    run = loaded.signatures["serving_default"]
    name = next(iter(run.structured_input_signature[1]))
    run(**{name: tf.constant(texts[:1])})
    cold, one = time.perf_counter() - started, []
    for text in texts[:200]:
        begun = time.perf_counter()
        run(**{name: tf.constant([text])})
        one.append(time.perf_counter() - begun)
    rows = texts[: len(texts) // 64 * 64] or texts
    run(**{name: tf.constant(rows[:64])})
    with clock() as times:
        for start in range(0, len(rows), 64):
            run(**{name: tf.constant(rows[start : start + 64])})
    ends = statistics.quantiles(one, n=100)
    size = sum(path.stat().st_size for path in Path(options.folder).rglob("*") if path.is_file()) / 2**20
    more = {
        "cold_start_s": cold,
        "p50_ms": 1e3 * ends[49],
        "p99_ms": 1e3 * ends[98],
        "disk_mb": size,
        "peak_mb": peak_mb(),
    }
    return {**times, "items": len(rows), **more}


def first_model(options) -> dict:
    """From nothing to a first model, imports included."""
    with clock() as times:
        examples, encoder = load(options)
        import tl_keras as tlk

        tlk.text_classifier(encoder, examples.classes, "freeze")
    return {**times, "items": 1}


def help_pages(options) -> dict:
    """Seconds until each command's `--help` stands there, and until a wrong option is refused."""
    commands = json.loads(os.environ["BENCH_COMMANDS"])
    seconds = {}
    for command in [*commands, ["train", "text-classification", "--no-such-option"]]:
        call = [sys.executable, "-m", "tl_keras", *command, *([] if "--no-such-option" in command else ["--help"])]
        best = []
        for _ in range(3):
            before = os.times()
            started = time.perf_counter()
            subprocess.run(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            after = os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            best.append((cpu, time.perf_counter() - started))
        seconds[" ".join(command) or "(none)"] = [round(x, 3) for x in min(best)]
    return {
        "cpu_s": max(c for c, _ in seconds.values()),
        "wall_s": max(w for _, w in seconds.values()),
        "items": 1,
        "each": seconds,
    }


def many_models(options) -> dict:
    """Resident memory after each of several builds and short fits."""
    import tl_keras as tlk
    from tl_keras._keras import keras

    examples, encoder = load(options)
    resident = []
    with clock() as times:
        for _ in range(options.epochs):
            model = tlk.text_classifier(encoder, examples.classes, "fine-tune")
            model.fit(encoder.batches(examples, training=True, batch_size=BATCH), epochs=1, verbose=0)
            del model
            keras.backend.clear_session()
            gc.collect()
            resident.append(round(resident_mb()))
    # The first builds fill pools that later ones use again.
    growth = (resident[-1] - resident[1]) / max(len(resident) - 2, 1)
    return {**times, "items": options.epochs, "resident_mb": resident, "mb_a_model": round(growth, 1)}


def matmul(options) -> dict:
    """What this machine multiplies, with the same library and threads: FLOPs a CPU second, best of several."""
    import tensorflow as tf

    size, rates = 1024, []
    matrix = tf.random.normal([size, size])
    tf.matmul(matrix, matrix)
    for _ in range(10):
        with clock() as times:
            for _ in range(4):
                tf.matmul(matrix, matrix).numpy()
        rates.append(4 * 2 * size**3 / times["cpu_s"])
    return {"cpu_s": 1.0, "wall_s": 1.0, "items": 1, "flops_a_cpu_second": max(rates)}


JOBS = (fine_tune, frozen, encode, tokenize, export, serve, first_model, help_pages, many_models, matmul)

if __name__ == "__main__":
    main({job.__name__: job for job in JOBS})
