"""Speed and cost against the others: `make bench [PART=serving] [DATA=folder]` -> benchmarks/results.json and benchmarks/README.md.

Each row is a ratio of two ways, measured in turn, A B A B, each in a process of its own, on the same weights, texts and thread counts.
What counts is CPU seconds, which other programs on the machine change least; wall time stands beside them, and the machine's load too.
The floor of a row of ours is the time that the FLOPs of the real tokens (padding not counted) take at the rate at which TensorFlow
multiplies matrices on this machine, measured in the same run. Libraries that are no needs of this project live in environments under
`.work/`, which are made here; a way whose environment cannot be made is skipped, and named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from importlib.metadata import version
from pathlib import Path

from page import write_page
from parts import Row, Way, rows

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
# Versions that exist for the Pythons of setup.cfg; the weights come as a package without needs of its own.
NEEDS = {
    "torch": ["torch==2.13.0", "transformers", "sentence-transformers", "scikit-learn", "tokenizers"],
    "keras-hub": ["keras-hub==0.32.0", "tensorflow==2.21.0", "tensorflow-text==2.21.1", "setuptools<82", "safetensors"],
}
COMMANDS = [
    *(
        [],
        ["train"],
        ["train", "text-classification"],
        ["train", "token-classification"],
        ["train", "question-answering"],
    ),
    *(
        ["train", "sentence-similarity"],
        ["train", "retrieval"],
        ["evaluate"],
        ["predict"],
        ["export"],
        ["encode"],
        ["encoders"],
    ),
    *(["advise"], ["convert"], ["pretrain"], ["search"], ["serve"], ["compress"]),
]


class Unavailable(Exception):
    """An environment could not be made, or a way failed in it."""


def make_environment(name: str) -> Path:
    """The Python of an environment of that name, which is made if need be.

    Raises:
        Unavailable: a package cannot be installed.
    """
    folder = ROOT / ".work" / f"bench-{name}"
    python, ready = folder / "bin" / "python", folder / "ready.txt"
    wanted = "\n".join(NEEDS[name])
    if not ready.exists() or ready.read_text() != wanted:
        print(f"making {folder.relative_to(ROOT)}: {', '.join(NEEDS[name])}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *NEEDS[name]], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"environment {name}: " + (done.stderr.strip().splitlines() or ["pip failed"])[-1])
        ready.write_text(wanted)
    return python


class Runner:
    """Runs ways, each in a process of its own.

    Args:
        options: of the command line.
        exports: folder for the exports that are served.
    """

    def __init__(self, options: argparse.Namespace, exports: Path):
        self.options, self.exports = options, exports
        self.pythons: dict[str, Path] = {"ours": Path(sys.executable)}
        self.missing: dict[str, str] = {}
        self.done: dict[tuple[Way, Way | None], tuple[list[dict], list[dict]]] = {}

    def python(self, environment: str) -> Path:
        """The interpreter of an environment."""
        if environment in self.missing:
            raise Unavailable(self.missing[environment])
        if environment not in self.pythons:
            try:
                self.pythons[environment] = make_environment(environment)
            except Unavailable as error:
                self.missing[environment] = str(error)
                raise
        return self.pythons[environment]

    def run(self, way: Way) -> dict:
        """Run a way once; returns what it printed, and `total_cpu_s`, imports and tracing included."""
        options = self.options
        python = self.python(way.environment)
        arguments = ["--encoder", str(options.encoder), "--weights", str(options.weights), *way.arguments]
        if options.data:
            arguments += ["--data", str(options.data)]
        if options.count and "--count" not in way.arguments:
            arguments += ["--count", str(options.count)]
        arguments = [self.export(a[1:]) if a.startswith("@") else a for a in arguments]
        before = os.times()
        done = subprocess.run(
            [python, HERE / f"{way.script}.py", way.job, *arguments],
            env=self.environment(way),
            capture_output=True,
            text=True,
            check=False,
        )
        after = os.times()
        if done.returncode:
            raise Unavailable(f"{way.script} {way.job}: " + (done.stderr.strip().splitlines() or ["failed"])[-1][:300])
        total = after.children_user + after.children_system - before.children_user - before.children_system
        return {**json.loads(done.stdout.splitlines()[-1]), "total_cpu_s": total}

    def take_turns(self, first: Way, second: Way | None, rounds: int) -> tuple[list[dict], list[dict]]:
        """What both ways print, run in turn. Rows of the same two ways share their runs."""
        if (first, second) not in self.done:
            ours, others = [], []
            for _ in range(rounds):
                ours.append(self.run(first))
                if second is not None:
                    others.append(self.run(second))
            self.done[first, second] = ours, others
        return self.done[first, second]

    def environment(self, way: Way) -> dict[str, str]:
        """Environment variables: as many threads everywhere, and the Keras that was asked for."""
        threads = str(self.options.threads)
        names = (
            "OMP_NUM_THREADS",
            "TF_NUM_INTRAOP_THREADS",
            "TF_NUM_INTEROP_THREADS",
            "OPENBLAS_NUM_THREADS",
            "RAYON_NUM_THREADS",
        )
        more = {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "KERAS_BACKEND": "tensorflow",
        }
        keras = {} if way.environment == "keras-hub" else {"TF_USE_LEGACY_KERAS": "1" if way.legacy_keras else "0"}
        path = {"PYTHONPATH": str(ROOT)} if way.environment == "ours" else {"PYTHONPATH": ""}
        return {
            **os.environ,
            **dict.fromkeys(names, threads),
            **more,
            **keras,
            **path,
            "BENCH_COMMANDS": json.dumps(COMMANDS),
        }

    def export(self, name: str) -> str:
        """The folder of an export, `ours` or `tutorial`, made when first asked for."""
        folder = self.exports / name
        if not folder.exists():
            self.run(Way(name, "export", ("--folder", str(folder / "1"))))
        return str(folder / "1")

    def versions(self, environment: str) -> list[str]:
        """What an environment holds, as `name==version`."""
        found = [self.pythons[environment], "-m", "pip", "list", "--format", "freeze"]
        lines = subprocess.run(found, capture_output=True, text=True, check=False).stdout.splitlines()
        names = (
            "torch",
            "transformers",
            "sentence-transformers",
            "scikit-learn",
            "tokenizers",
            "tensorflow",
            "keras",
            "tf_keras",
            "keras-hub",
        )
        return [line for line in lines if line.split("==")[0] in names]


def value(row: Row, found: dict) -> float:
    """What a row compares, of one run: seconds an item, or the key itself."""
    return found[row.measure] / (found["items"] if row.measure in ("cpu_s", "wall_s") else 1)


def measure(row: Row, runner: Runner, rounds: int) -> dict:
    """Run both ways in turn, and put the figures side by side."""
    ours, others = runner.take_turns(row.first, row.second, rounds)
    result = {"part": row.part, "row": row.name, "measure": row.measure, "first": [value(row, found) for found in ours]}
    result["first_runs"], result["second_runs"] = ours, others
    if others:
        result["second"] = [value(row, found) for found in others]
        ratios = [b / a for a, b in zip(result["first"], result["second"], strict=True)]
        walls = [b["wall_s"] / b["items"] / (a["wall_s"] / a["items"]) for a, b in zip(ours, others, strict=True)]
        result.update(
            ratio=statistics.median(ratios), least=min(ratios), most=max(ratios), wall_ratio=statistics.median(walls)
        )
    return result


def processor() -> str:
    """The name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Measure, and write what was measured beside what earlier runs of other parts left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = list(dict.fromkeys(row.part for row in rows()))
    parser.add_argument("--part", choices=parts, action="append", help="all by default")
    parser.add_argument(
        "--data", type=Path, help="folder with sst2/, nsmc/ and korquad/; the small sample data by default"
    )
    parser.add_argument("--encoder", type=Path, required=True, help="encoder pair")
    parser.add_argument("--weights", type=Path, required=True, help="the same weights as a Hugging Face folder")
    parser.add_argument("--count", type=int, help="texts, where a row does not say how many; 512 by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    chosen = [row for row in rows() if not options.part or row.part in options.part]
    old = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    found = [row for row in old if options.part and row["part"] not in options.part]
    skipped: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options, Path(folder))
        begun, rate = os.getloadavg()[0], runner.run(Way("ours", "matmul"))["flops_a_cpu_second"]
        for row in chosen:
            started = time.perf_counter()
            try:
                result = measure(row, runner, options.rounds)
            except Unavailable as error:
                skipped.append(f"{row.part}, {row.name}: {error}")
                print("skipped", skipped[-1], flush=True)
                continue
            result.update(load=round(os.getloadavg()[0], 1), flops_a_cpu_second=rate)
            flops = result["first_runs"][0].get("forward_flops")
            if flops:
                passes = 3 if row.first.job == "fine_tune" else 1
                seconds = statistics.median(run["cpu_s"] for run in result["first_runs"])
                result["of_matmul_rate"] = passes * flops / seconds / rate
            found.append(result)
            ratio = (
                f"{result['ratio']:.2f}"
                if "ratio" in result
                else f"{statistics.median(result['first']):.4g} {row.measure}"
            )
            print(f"{row.part}, {row.name}: {ratio} ({time.perf_counter() - started:.0f} s)", flush=True)
        machine = {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": options.threads,
            "python": platform.python_version(),
            "tensorflow": version("tensorflow"),
            "load_at_start": round(begun, 1),
            "gflops_a_cpu_second": round(rate / 1e9, 1),
            "texts": "sample data of this repository" if options.data is None else "shared data sets",
            "environments": {name: runner.versions(name) for name in runner.pythons},
        }
    results = {"machine": machine, "skipped": skipped, "rows": found}
    beside = options.out.with_suffix(".partial")
    beside.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    beside.replace(options.out)
    write_page(results, options.out.parent)


if __name__ == "__main__":
    main()
