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
    """A ratio of two ways; above 1 the first is better. `measure` is a time an item, or a key of what both print."""

    part: str
    name: str
    first: Way
    second: Way | None = None
    measure: str = "cpu_s"


def _both(script: str, job: str, *arguments: str, environment: str = "ours", legacy: bool = True) -> Way:
    return Way(script, job, arguments, environment, legacy)


def rows() -> list[Row]:
    """All rows, by part."""
    found = []
    for texts, length in (("sst2", "128"), ("nsmc", "128"), ("korquad", "256")):
        with_texts = ("--texts", texts, "--length", length)
        ours = _both("ours", "fine_tune", *with_texts)
        others = {
            "ours in Keras 3": _both("ours", "fine_tune", *with_texts, legacy=False),
            "the tutorial": _both("tutorial", "fine_tune", *with_texts),
            "PyTorch, like lengths": _both("with_torch", "fine_tune", *with_texts, environment="torch"),
            "PyTorch, random batches": _both(
                "with_torch", "fine_tune", *with_texts, "--batches", "random", environment="torch"
            ),
            f"KerasHub at {length}": _both("with_keras_hub", "fine_tune", *with_texts, environment="keras-hub"),
        }
        if texts == "sst2":
            shorter = ("--texts", texts, "--length", "64")
            others["KerasHub at 64"] = _both("with_keras_hub", "fine_tune", *shorter, environment="keras-hub")
        found += [Row("fine-tune", f"{texts}: over {name}", ours, other) for name, other in others.items()]
    ours = _both("ours", "frozen")
    found += [
        Row("frozen", "ten epochs: over the tutorial", ours, _both("tutorial", "frozen")),
        Row("frozen", "ten epochs: over KerasHub", ours, _both("with_keras_hub", "frozen", environment="keras-hub")),
        Row(
            "frozen",
            "over sentence-transformers + scikit-learn",
            ours,
            _both("with_torch", "frozen", environment="torch"),
        ),
    ]
    ours = _both("ours", "encode")
    found += [
        Row("encode", "over sentence-transformers", ours, _both("with_torch", "encode", environment="torch")),
        Row("encode", "over KerasHub at 128", ours, _both("with_keras_hub", "encode", environment="keras-hub")),
    ]
    ours, tutorial = _both("ours", "serve", "--folder", "@ours"), _both("ours", "serve", "--folder", "@tutorial")
    names = {"cpu_s": "batch 64, throughput", "p50_ms": "batch 1, median", "p99_ms": "batch 1, 99th percentile"}
    names |= {"cold_start_s": "cold start", "disk_mb": "size on disk", "peak_mb": "memory"}
    found += [Row("serving", f"{name}: over the tutorial's export", ours, tutorial, key) for key, name in names.items()]
    rust = _both("with_torch", "tokenize", environment="torch")
    found.append(Row("pipeline", "tokenizing and batching: over tokenizers (Rust)", _both("ours", "tokenize"), rust))
    ours = _both("ours", "first_model")
    found += [
        Row("start", "first model: over the tutorial's", ours, _both("tutorial", "first_model"), "total_cpu_s"),
        Row("start", "slowest --help, wall seconds", _both("ours", "help_pages"), None, "wall_s"),
    ]
    for count in ("1000", "4000", "16000"):
        found.append(Row("growth", f"{count} texts", _both("ours", "encode", "--count", count), None))
    for length in ("16", "64", "256"):
        long = _both("ours", "encode", "--texts", "korquad", "--length", length)
        found.append(Row("growth", f"{length} tokens a text", long, None))
    found.append(Row("memory", "MB that a trained model leaves", _both("ours", "many_models"), None, "mb_a_model"))
    return found
