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
# Parts whose processes are long, or whose figures stand alone.
ONCE = ("growth", "memory", "pipeline", "start")


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
        self.skipped: dict[Way, str] = {}

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
        if "--count" in arguments and options.share < 1:
            at = arguments.index("--count") + 1
            arguments[at] = str(max(int(int(arguments[at]) * options.share), 64))
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

    def take_turns(self, ways: list[Way], rounds: int) -> dict[Way, list[dict]]:
        """What each way prints, run in turn, A B C A B C.

        Ways that cannot be run are left out, and named in `skipped`.
        """
        found: dict[Way, list[dict]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way in [way for way in ways if way not in self.skipped]:
                started = time.perf_counter()
                try:
                    found[way].append(self.run(way))
                except Unavailable as error:
                    self.skipped[way] = str(error)
                    print("skipped:", error, flush=True)
                    continue
                seconds = time.perf_counter() - started
                print(f"  {way.script} {way.job} {' '.join(way.arguments)}: {seconds:.0f} s", flush=True)
        return {way: runs for way, runs in found.items() if way not in self.skipped}

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


def compare(row: Row, ours: list[dict], others: list[dict], rate: float) -> dict:
    """The figures of a row's two ways side by side.

    Args:
        row: which.
        ours: what the first way printed, one for each round.
        others: the same of the second; empty without one.
        rate: FLOPs a CPU second of matrix products.
    """
    result = {"part": row.part, "row": row.name, "measure": row.measure, "first": [value(row, found) for found in ours]}
    if row.target is not None:
        result["target"] = row.target
    result["first_runs"], result["second_runs"] = ours, others
    if others:
        result["second"] = [value(row, found) for found in others]
        ratios = [b / a for a, b in zip(result["first"], result["second"], strict=True)]
        walls = [b["wall_s"] / b["items"] / (a["wall_s"] / a["items"]) for a, b in zip(ours, others, strict=True)]
        result.update(
            ratio=statistics.median(ratios), least=min(ratios), most=max(ratios), wall_ratio=statistics.median(walls)
        )
    if ours[0].get("forward_flops"):
        # Backward costs two products for each of the forward pass's.
        passes = 3 if row.first.job == "fine_tune" else 1
        seconds = statistics.median(run["cpu_s"] for run in ours)
        result["of_matmul_rate"] = passes * ours[0]["forward_flops"] / seconds / rate
    return result


def measure_part(part: str, chosen: list[Row], runner: Runner, rounds: int) -> dict:
    """All rows of a part: those with the same first way take turns together."""
    begun, started = os.getloadavg()[0], time.perf_counter()
    rate = runner.run(Way("ours", "matmul"))["flops_a_cpu_second"]
    found, skipped = [], []
    for first in dict.fromkeys(row.first for row in chosen):
        group = [row for row in chosen if row.first == first]
        ways = list(dict.fromkeys([first, *(row.second for row in group if row.second)]))
        runs = runner.take_turns(ways, 1 if part in ONCE else rounds)
        for row in group:
            missing = [way for way in (row.first, row.second) if way is not None and way not in runs]
            if missing:
                skipped.append(f"{part}, {row.name}: {runner.skipped[missing[0]]}")
                continue
            found.append(compare(row, runs[first], runs[row.second] if row.second else [], rate))
            middle = found[-1].get("ratio", statistics.median(found[-1]["first"]))
            print(f"{part}, {row.name}: {middle:.3g}", flush=True)
    return {
        "part": part,
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "load": round(begun, 1),
        "gflops_a_cpu_second": round(rate / 1e9, 1),
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "skipped": skipped,
        "rows": found,
    }


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
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the texts of each row, for a machine with little time"
    )
    parser.add_argument("--only", help="rows whose name holds this")
    parser.add_argument("--rounds", type=int, default=3, help="of parts that are measured more than once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else {"parts": []}
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options, Path(folder))
        for part in options.part or parts:
            chosen = [row for row in rows() if row.part == part and (not options.only or options.only in row.name)]
            found = {**measure_part(part, chosen, runner, options.rounds), "share": options.share}
            if options.only:
                # What was measured before and not now stays.
                before = next((old for old in results["parts"] if old["part"] == part), {"rows": [], "skipped": []})
                names = {row.name for row in chosen}
                found["rows"] = [row for row in before["rows"] if row["row"] not in names] + found["rows"]
                found["skipped"] = [text for text in before["skipped"] if not any(n in text for n in names)] + found[
                    "skipped"
                ]
            results["machine"] = {
                "cores": os.cpu_count(),
                "threads": options.threads,
                "python": platform.python_version(),
                "texts": "sample data of this repository" if options.data is None else "shared data sets",
                "environments": {
                    **results.get("machine", {}).get("environments", {}),
                    **{name: runner.versions(name) for name in runner.pythons},
                },
            }
            others = {old["part"]: old for old in results["parts"]} | {part: found}
            results["parts"] = [others[name] for name in parts if name in others]
            # After each part, so that one that is broken off costs no other.
            beside = options.out.with_suffix(".partial")
            beside.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
            beside.replace(options.out)
            write_page(results, options.out.parent)


if __name__ == "__main__":
    main()
