"""The ways of `make bench` that use this package. Run by run.py, each in a process of its own."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from measure import BATCH, RATE, clock, main, mb_a_model, peak_mb, read_texts, resident_mb


def load(options):
    import tl_keras as tlk

    texts, labels = read_texts(options.data, options.texts, options.count)
    examples = tlk.data.Examples.from_lists(texts, [str(label) for label in labels])
    return examples, tlk.load_encoder(options.encoder, seq_length=options.length, layers=options.layers)


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
    """Vectors of texts, after some that warm it up; `more_mb` is what memory grew by meanwhile."""
    import tl_keras as tlk

    examples, encoder = load(options)
    texts = examples.texts.tolist()
    tlk.encode(encoder, texts[:1000])
    before = peak_mb()
    with clock() as times:
        tlk.encode(encoder, texts)
    # Counting the tokens would take as long again, so it is done where the share of the matmul rate is asked for.
    more = real_tokens(encoder, examples) if len(texts) <= 4000 else {}
    return {**times, "items": len(texts), "more_mb": max(peak_mb() - before, 1.0), **more}


def tokenize(options) -> dict:
    """The input pipeline alone, after some texts that warm it up; `rows_mb` is what the texts and their batches take."""
    import tl_keras as tlk

    encoder = tlk.load_encoder(options.encoder, seq_length=options.length)
    few = tlk.data.Examples.from_lists(read_texts(options.data, options.texts, 256)[0])
    for _ in encoder.batches(few, training=True, batch_size=BATCH):
        pass
    before = peak_mb()
    examples, _ = load(options)
    with clock() as times:
        for _ in encoder.batches(examples, training=True, batch_size=BATCH):
            pass
    return {**times, "items": len(examples), "rows_mb": max(peak_mb() - before, 1.0)}


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


def _commands() -> list[list[str]]:
    """Each command of `tl-keras`, as words; the first is none."""
    import typer

    from tl_keras.cli.app import app

    found: list[list[str]] = []

    def walk(command, words: list[str]) -> None:
        found.append(words)
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            walk(inner, [*words, name])

    walk(typer.main.get_command(app), [])
    return found


def help_pages(options) -> dict:
    """CPU seconds until each command's `--help` stands there, and until a wrong option is refused."""
    seconds = {}
    for words in [*_commands(), ["train", "text-classification", "--no-such-option"]]:
        wrong = "--no-such-option" in words
        best = []
        for _ in range(2):
            before, started = os.times(), time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "tl_keras", *words, *([] if wrong else ["--help"])],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            after = os.times()
            if done.returncode != (2 if wrong else 0):
                raise SystemExit(f"tl-keras {' '.join(words)} ended with {done.returncode}")
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            best.append((cpu, time.perf_counter() - started))
        seconds[" ".join(words) or "tl-keras"] = [round(x, 3) for x in min(best)]
    wrong = seconds.pop("train text-classification --no-such-option")
    return {
        "cpu_s": max(cpu for cpu, _ in seconds.values()),
        "wall_s": max(wall for _, wall in seconds.values()),
        "wrong_option_s": wrong[0],
        "items": 1,
        "each": seconds,
    }


def clients(options) -> dict:
    """`tl-keras serve` on an export, asked one text at a time by 1, 2 and 8 clients; the server's processor time counts, not theirs."""
    texts, _ = read_texts(options.data, options.texts, 400)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = options.folder.parent
    command = ["serve", str(folder), "--name", "model", "--port", str(port)]
    server = subprocess.Popen([sys.executable, "-m", "tl_keras", *command], stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            if server.poll() is not None:
                raise SystemExit("the server did not begin")
            time.sleep(0.2)
        _ask(port, texts[:50], [])
        found = {}
        for count in (1, 2, 8):
            seconds: list[float] = []
            threads = [
                threading.Thread(target=_ask, args=(port, texts[i::count], seconds), daemon=True) for i in range(count)
            ]
            cpu, wall = _cpu_of(server.pid), time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wall, cpu = time.perf_counter() - wall, _cpu_of(server.pid) - cpu
            if len(seconds) != len(texts):
                raise SystemExit(f"{len(texts) - len(seconds)} of {len(texts)} requests were not answered")
            ends = statistics.quantiles(seconds, n=100)
            found |= {
                f"rows_per_s_{count}": len(texts) / wall,
                f"cpu_ms_{count}": 1e3 * cpu / len(texts),
                f"p50_ms_{count}": 1e3 * ends[49],
                f"p99_ms_{count}": 1e3 * ends[98],
            }
    finally:
        server.terminate()
        server.wait(timeout=60)
    return {"cpu_s": found["cpu_ms_8"] / 1e3, "wall_s": 1 / found["rows_per_s_8"], "items": 1, **found}


def _ask(port: int, texts: list[str], seconds: list[float]) -> None:
    """Ask for one text after another over one connection; leaves how long each answer took."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for text in texts:
        begun = time.perf_counter()
        body = json.dumps({"instances": [text]})
        connection.request("POST", "/v1/models/model:predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200 or len(json.loads(content)["predictions"]) != 1:
            return
        seconds.append(time.perf_counter() - begun)


def _cpu_of(pid: int) -> float:
    """Processor time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
    return {**times, "items": options.epochs, "resident_mb": resident, "mb_a_model": mb_a_model(resident)}


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


JOBS = (fine_tune, frozen, encode, tokenize, export, serve, clients, first_model, help_pages, many_models, matmul)

if __name__ == "__main__":
    main({job.__name__: job for job in JOBS})
