"""What `make bench` compares: the ways, and the rows made of two of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """One process: a script of this folder, its job and arguments, and the environment it runs in."""

    script: str
    job: str
    arguments: tuple[str, ...] = ()
    environment: str = "ours"  # or "torch", "keras-hub": made by run.py
    legacy_keras: bool = True


@dataclass(frozen=True)
class Row:
    """A ratio of two ways; above 1 the first is better.

    Attributes:
        part: what `--part` chooses.
        name: of the row.
        first: ours.
        second: what it is compared with; None for a figure that stands alone.
        measure: a time an item, or a key of what both print.
        target: of the ratio.
    """

    part: str
    name: str
    first: Way
    second: Way | None = None
    measure: str = "cpu_s"
    target: float | None = None


GROWTH = {"texts": (1000, 3000, 10_000, 30_000, 100_000), "tokens": (16, 32, 64, 128, 256, 512)}


def _both(script: str, job: str, *arguments: str, environment: str = "ours", legacy: bool = True) -> Way:
    return Way(script, job, arguments, environment, legacy)


def _fine_tune() -> list[Row]:
    found = []
    for texts, length, count in (("sst2", "128", "512"), ("nsmc", "128", "384"), ("korquad", "256", "96")):
        # The tutorial's preprocessing pads to 128 whatever the texts, so long ones are cut there.
        given = ("--texts", texts, "--count", count, "--length", length)
        targets = {"the tutorial": 5.5, "PyTorch, like lengths": 1.8} if texts == "sst2" else {}
        others = {
            "ours in Keras 3": _both("ours", "fine_tune", *given, legacy=False),
            "PyTorch, like lengths": _both("with_torch", "fine_tune", *given, environment="torch"),
            "PyTorch, random batches": _both(
                "with_torch", "fine_tune", *given, "--batches", "random", environment="torch"
            ),
            f"KerasHub at {length}": _both("with_keras_hub", "fine_tune", *given, environment="keras-hub"),
        }
        if texts != "korquad":
            others["the tutorial"] = _both("tutorial", "fine_tune", *given)
        if texts == "sst2":
            shorter = (*given[:-1], "64")
            others["KerasHub at 64"] = _both("with_keras_hub", "fine_tune", *shorter, environment="keras-hub")
            targets["KerasHub at 64"] = 3.2
        ours = _both("ours", "fine_tune", *given)
        found += [
            Row("fine-tune", f"{texts}: over {name}", ours, other, target=targets.get(name))
            for name, other in others.items()
        ]
    return found


def rows() -> list[Row]:
    """All rows, by part."""
    found = _fine_tune()
    hub, torch = {"environment": "keras-hub"}, {"environment": "torch"}
    # With few texts tracing takes most of the time, of which scikit-learn has none.
    for count, target in (("256", None), ("2048", 1.5)):
        others = _both("with_torch", "frozen", "--count", count, **torch)
        name = f"ten epochs, {int(count):,} texts: over sentence-transformers + scikit-learn"
        found.append(Row("frozen", name, _both("ours", "frozen", "--count", count), others, target=target))
    ours = _both("ours", "frozen", "--count", "1024")
    found += [
        Row("frozen", f"ten epochs, 1,024 texts: over {name}", ours, other, target=target)
        for name, other, target in (
            ("the tutorial", _both("tutorial", "frozen", "--count", "1024"), 25.0),
            ("KerasHub, trainable=False, at 64", _both("with_keras_hub", "frozen", "--count", "1024", "--length", "64", **hub), None),
        )
    ]  # fmt: skip
    ours = _both("ours", "encode", "--count", "1024")
    found += [
        Row("encode", f"over {name}", ours, other, target=target)
        for name, other, target in (
            ("sentence-transformers", _both("with_torch", "encode", "--count", "1024", **torch), 3.0),
            ("KerasHub's TextEmbedder at 128", _both("with_keras_hub", "encode", "--count", "1024", **hub), None),
            ("KerasHub's TextEmbedder at 64", _both("with_keras_hub", "encode", "--count", "1024", "--length", "64", **hub), None),
        )
    ]  # fmt: skip
    ours, tutorial = _both("ours", "serve", "--folder", "@ours"), _both("ours", "serve", "--folder", "@tutorial")
    names = {"cpu_s": "batch 64, throughput", "p50_ms": "batch 1, median", "p99_ms": "batch 1, 99th percentile"}
    names |= {"cold_start_s": "cold start", "disk_mb": "size on disk", "peak_mb": "memory"}
    targets = {"cpu_s": 4.0, "p50_ms": 2.0}
    found += [
        Row("serving", f"{name}: over the tutorial's export", ours, tutorial, key, targets.get(key))
        for key, name in names.items()
    ]
    server = _both("ours", "clients", "--folder", "@ours")
    found += [
        Row("serving", f"tl-keras serve, {count} client(s): {name}", server, None, f"{key}_{count}")
        for count in (1, 2, 8)
        for key, name in (("rows_per_s", "rows/s"), ("cpu_ms", "CPU ms a row"), ("p50_ms", "ms, median"), ("p99_ms", "ms, 99 %"))
    ]  # fmt: skip
    for count in ("8192", "1000000"):
        ours = _both("ours", "tokenize", "--count", count)
        rust = _both("with_torch", "tokenize", "--count", count, **torch)
        found.append(Row("pipeline", f"{int(count):,} texts: over tokenizers (Rust)", ours, rust))
        if count == "1000000":  # fewer fit into what either has at hand already
            found.append(Row("pipeline", "1,000,000 texts, memory: over tokenizers (Rust)", ours, rust, "rows_mb"))
    ours = _both("ours", "first_model")
    pages = _both("ours", "help_pages")
    found += [
        Row("start", "import + first model: over the tutorial's", ours, _both("tutorial", "first_model"), "total_cpu_s"),
        Row("start", "slowest --help, CPU seconds (below 0.7)", pages, None),
        Row("start", "a wrong option, CPU seconds (below 1)", pages, None, "wrong_option_s"),
    ]  # fmt: skip
    for count in GROWTH["texts"]:
        # One block: how time grows with the texts does not depend on how many there are.
        given = ("--texts", "nsmc", "--count", str(count), "--encoder", "ko-en-small", "--layers", "1")
        many = _both("ours", "encode", *given)
        found.append(Row("growth", f"{count} texts", many))
    for length in GROWTH["tokens"]:
        long = _both("ours", "encode", "--texts", "korquad", "--count", "128", "--length", str(length))
        found.append(Row("growth", f"{length} tokens a text", long))
    times = ("--epochs", "14", "--count", "64")
    tutorial = _both("tutorial", "many_models", *times)
    for name, way in (
        ("Keras 2", _both("ours", "many_models", *times)),
        ("Keras 3", _both("ours", "many_models", *times, legacy=False)),
        ("plain hub.KerasLayer", tutorial),
    ):
        found.append(Row("memory", f"MB that a trained model leaves, {name}", way, None, "mb_a_model"))
    return found
