"""`tl-keras predict --engine spark` against the same command without it: rows a second, the same answers, memory, and an executor that is killed.

    TF_USE_LEGACY_KERAS=1 python benchmarks/spark.py --rows 1000000      # needs Java 17 and the extra `spark`; Linux

Four jobs over the same Parquet files: one process with as many threads as there are cores, Spark on this machine (`local[N]`), a standalone
cluster of N workers of one core each on 127.0.0.1, and the same with one of its executors killed (`kill -9`) in the middle. The model
is the quick, untrained one of `stream_predict.py`, because with it Spark's own share is largest. Each job runs for few rows first; what it takes
longer for many is the time of the rows, without that of the start. Beside wall time stands the processor time of all processes,
which says something on a busy machine too. Results: benchmarks/results/spark.json.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
CORES = len(os.sched_getaffinity(0))
FILES = 16
# One thread a process would not be fair to a single process, nor true of Spark's.
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in THREADS},
    "PYTHONPATH": str(ROOT),
    "PYSPARK_PYTHON": sys.executable,
    "SPARK_LOCAL_IP": "127.0.0.1",
}


def write_rows(folder: Path, rows: int) -> None:
    """Parquet files of texts that all differ: reviews of the sample data, each with its number."""
    import pyarrow
    import pyarrow.parquet

    texts = []
    for name in ("reviews_ko.csv", "reviews_en.csv"):
        with open(ROOT / "data" / name, encoding="utf-8", newline="") as stream:
            texts += [row["text"] for row in csv.DictReader(stream)]
    folder.mkdir()
    for part in range(FILES):
        ids = range(rows * part // FILES, rows * (part + 1) // FILES)
        table = {"id": list(ids), "text": [f"{texts[row * 7919 % len(texts)]} {row}" for row in ids]}
        pyarrow.parquet.write_table(pyarrow.table(table), folder / f"part-{part:02}.parquet")


class Watch:
    """Processor time and memory of all processes of some sessions, looked at every half second."""

    def __init__(self):
        self.sessions: set[int] = set()
        self.seconds: dict[int, float] = {}
        self.memory: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.workers: set[int] = set()
        self.begun = time.perf_counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def processes(self):
        """Of the sessions: process, command, processor seconds, MB."""
        tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) in self.sessions:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    yield (
                        int(entry.name), command, (int(fields[11]) + int(fields[12])) / tick,
                        int(fields[21]) * page / 2**20,
                    )  # fmt: skip

    def look(self) -> None:
        """Note what is running now."""
        now = time.perf_counter() - self.begun
        for number, command, seconds, size in self.processes():
            self.seconds[number] = seconds
            kind = "worker" if "pyspark.daemon" in command else "java" if "java" in command else "main"
            self.memory[kind].append((now, size))
            if kind == "worker" and size > 300:  # the one that forks them has no TensorFlow
                self.workers.add(number)

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            self.look()

    def end(self) -> dict:
        """Processor seconds; how many Python workers Spark had; for each kind of process the largest one's MB in the first half and over all."""
        self.look()
        self._stop.set()
        self._thread.join()
        half = (time.perf_counter() - self.begun) / 2
        memory = {
            kind: [round(max((mb for at, mb in seen if at < half), default=0)), round(max(mb for _, mb in seen))]
            for kind, seen in self.memory.items()
        }
        return {
            "cpu_seconds": round(sum(self.seconds.values()), 1),
            "python_workers": len(self.workers),
            "mb_first_half_and_all": memory,
        }


def job(run: Path, data: Path, out: Path, spark: str | None, sessions: set[int], more: str = "", kill=None) -> dict:
    """Run one command, and say what it took.

    Args:
        run: export.
        data: folder of Parquet files.
        out: file or folder to write.
        spark: master; None for one process.
        sessions: of a cluster that works too.
        more: further settings for Spark.
        kill: called while it runs, in a thread, with the watch and the output.
    """
    command = [sys.executable, "-m", "tl_keras", "predict", str(run), "--data", f"{data}/*.parquet", "--out", str(out)]
    environment = dict(ENVIRONMENT)
    if spark is not None:
        command += ["--engine", "spark"]
        settings = f"--master {spark} --conf spark.ui.enabled=false {more}"
        environment["PYSPARK_SUBMIT_ARGS"] = f"{settings} pyspark-shell"
    before = cpu_of(sessions)
    watch = Watch()
    process = subprocess.Popen(
        [*command, "--batch-size", "256"], env=environment, start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    watch.sessions = {process.pid, *sessions}
    killed: list = []
    killer = threading.Thread(target=lambda: killed.append(kill(watch, out, process))) if kill else None
    if killer:
        killer.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - watch.begun
    found = watch.end()
    if killer:
        killer.join()
        found["killed"] = killed[0]
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said[-3000:]}")
    found["cpu_seconds"] = round(found["cpu_seconds"] - before, 1)
    return {"wall_seconds": round(seconds, 1), **found}


def cpu_of(sessions: set[int]) -> float:
    """Processor seconds so far of all processes of some sessions."""
    watch = Watch()
    watch.sessions = sessions
    return watch.end()["cpu_seconds"]


@contextlib.contextmanager
def cluster(folder: Path):
    """A standalone cluster of one-core workers on 127.0.0.1: its address and its sessions."""
    import pyspark

    start = [str(Path(pyspark.__file__).parent / "bin" / "spark-class"), "org.apache.spark.deploy"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    master, started = f"spark://127.0.0.1:{port}", []

    def begin(kind: str, *arguments) -> None:
        log = open(folder / f"{kind.lower()}-{len(started)}.log", "wb")  # noqa: SIM115 (the process's, to its end)
        name = f"{start[1]}.{kind.lower()}.{kind}"
        command = [start[0], name, "--host", "127.0.0.1", "--webui-port", "0", *map(str, arguments)]
        environment = {**ENVIRONMENT, "SPARK_NO_DAEMONIZE": "1"}
        started.append(
            subprocess.Popen(command, env=environment, start_new_session=True, stdout=log, stderr=log, cwd=folder)
        )

    try:
        begin("Master", "--port", port)
        for number in range(CORES):
            begin("Worker", "--cores", 1, "--memory", "2g", "--work-dir", folder / f"work-{number}", master)
        while sum("Successfully registered" in log.read_text() for log in folder.glob("worker-*.log")) < CORES:
            if any(process.poll() is not None for process in started):
                sys.exit("the cluster did not begin:\n" + "\n".join(log.read_text() for log in folder.glob("*.log")))
            time.sleep(0.2)
        yield master, {process.pid for process in started}
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def kill_an_executor(watch: Watch, out: Path, process) -> str:
    """Wait until a third of the tasks have been committed, then kill one executor."""
    while len(list(out.glob("_temporary/0/task_*"))) < FILES // 3:
        if process.poll() is not None:
            return "nothing: the job ended first"
        time.sleep(0.1)
    executors = [number for number, command, *_ in watch.processes() if "CoarseGrainedExecutorBackend" in command]
    os.kill(executors[0], signal.SIGKILL)
    return f"one of {len(executors)} executors, after {len(list(out.glob('_temporary/0/task_*')))} of {FILES} files"


def answers(path: Path):
    import pandas as pd

    frame = pd.read_csv(path) if path.is_file() else pd.read_parquet(path)
    return frame[["id", "label", "score"]].sort_values("id", kind="stable").reset_index(drop=True)


def compared(path: Path, expected, rows: int) -> dict:
    """Whether every row is there once, with the same answer."""
    found = answers(path)
    return {
        "every_row_once": found.id.tolist() == list(range(rows)),
        "same_labels": bool((found.label == expected.label).all()),
        "largest_difference_of_scores": float(f"{(found.score - expected.score).abs().max():.1e}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="export of a classifier of single texts")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=4_000, help="rows of the job that shows what starting costs")
    parser.add_argument("--only", action="append", choices=("local", "cluster", "killed"), help="by default all")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "spark.json")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    from stream_predict import export_tiny

    wanted = options.only or ["local", "cluster", "killed"]
    result: dict = {
        "model": str(options.run or "untrained: one layer of width 16, tokens of ko-en-small, at most 32 tokens"),
        "rows": options.rows,
        "few": options.few,
        "cores": CORES,
        "load_before": round(os.getloadavg()[0], 1),
        "jobs": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = options.run or export_tiny(folder)
        sizes = {"few": options.few, "all": options.rows}
        for size, rows in sizes.items():
            write_rows(folder / size, rows)

        def measure(what: str, master: str | None, sessions: set[int], more: str = "", kill=None) -> None:
            found: dict = {"load": round(os.getloadavg()[0], 1)}
            for size in ("few", "all") if kill is None else ("all",):
                out = folder / f"{what}-{size}{'' if master else '.csv'}"
                found[size] = job(run, folder / size, out, master, sessions, more, kill)
            if kill is None:
                for kind in ("wall_seconds", "cpu_seconds"):
                    for_rows = found["all"][kind] - found["few"][kind]
                    found[f"rows_per_{kind[:-1]}"] = round((options.rows - options.few) / for_rows, 1)
            if master is not None:
                found |= compared(out, expected, options.rows)
                own = result["jobs"]["one process"]
                found |= {
                    f"{name}_of_one_process": round(found[name] / own[name], 3) for name in own if name.startswith("rows_per") and name in found
                }  # fmt: skip
                shutil.rmtree(out)
            result["jobs"][what] = found
            print(what, json.dumps(found, indent=1), flush=True)
            options.out.write_text(json.dumps(result, indent=1) + "\n")

        measure("one process", None, set())
        expected = answers(folder / "one process-all.csv")
        if "local" in wanted:
            measure("local", f"local[{CORES}]", set())
        if {"cluster", "killed"} & set(wanted):
            (folder / "cluster").mkdir()
            with cluster(folder / "cluster") as (master, sessions):
                more = "--conf spark.driver.host=127.0.0.1 --conf spark.executor.memory=1g"
                for what in ("cluster", "killed"):
                    if what in wanted:
                        measure(what, master, sessions, more, kill_an_executor if what == "killed" else None)


if __name__ == "__main__":
    main()
