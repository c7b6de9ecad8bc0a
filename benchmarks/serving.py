"""Load on `tl-keras serve` from a load generator, against the same SavedModel called in a loop.

    TF_USE_LEGACY_KERAS=1 python benchmarks/serving.py            # needs `wrk` (Debian's package of that name)

A classifier on `--encoder`, untrained, because training changes no cost (or that of `--run`), is called with batches of 64 of the sample
data's reviews, as they come; then served on 127.0.0.1 and asked by 1, 8 and 64 clients, each of which sends one review at a time and waits
for its answer. Server, clients and whatever else runs share the machine's cores. Reported: rows a second, the share of the bare SavedModel's,
processor time for a row (which says something on a busy machine too), the latencies, and answers other than 200. At last, 8 such clients beside rude
ones: that go away, send garbage, bodies too large, 10,000 rows, or half a request. Results: benchmarks/results/serving.json.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
SAMPLES = [HERE.parent / "data" / name for name in ("reviews_ko.csv", "reviews_en.csv")]
CLIENTS = (1, 8, 64)
# Each thread of wrk begins somewhere else in the reviews; `done` gives what wrk knows as JSON.
SCRIPT = """
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local at = 0
request = function()
  at = at % #bodies + 1
  return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, bodies[at])
end
done = function(summary, latency)
  local e = summary.errors
  print(string.format('JSON {"requests": %d, "microseconds": %d, "p50_ms": %f, "p90_ms": %f, "p99_ms": %f, "max_ms": %f, "not_200": %d, "socket_errors": %d}',
    summary.requests, summary.duration, latency:percentile(50) / 1000, latency:percentile(90) / 1000, latency:percentile(99) / 1000,
    latency.max / 1000, e.status, e.connect + e.read + e.write + e.timeout))
end
"""


def reviews() -> list[str]:
    """The sample data's reviews, both languages mixed."""
    texts = []
    for path in SAMPLES:
        with open(path, encoding="utf-8", newline="") as stream:
            texts += [row["text"] for row in csv.DictReader(stream)]
    return [texts[place * 7919 % len(texts)] for place in range(len(texts))]


def untrained(encoder: str, folder: Path) -> Path:
    import tl_keras as tlk

    return tlk.export(
        tlk.text_classifier(tlk.load_encoder(encoder), ["no", "yes"], "freeze"), folder / "classifier" / "1"
    )


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, of the system too (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bare(run: Path, texts: list[str], seconds: float, batch_size: int = 64) -> dict:
    """The SavedModel called in a loop, in this process."""
    import tensorflow as tf

    from tl_keras.serving.predict import load_exported

    signature = load_exported(run).signature
    batches = [
        tf.constant(texts[start : start + batch_size]) for start in range(0, len(texts) - batch_size, batch_size)
    ]
    for batch in batches[:3]:
        signature(text=batch)["scores"].numpy()
    rows, begin, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < seconds:
        for batch in batches:
            rows += len(signature(text=batch)["scores"].numpy())
            if time.perf_counter() - begin > seconds:
                break
    return {
        "rows_per_second": round(rows / (time.perf_counter() - begin), 1),
        "cpu_ms_per_row": round((time.process_time() - used) / rows * 1000, 3),
    }


@contextlib.contextmanager
def served(run: Path, options: list[str]):
    """The address of the model, while a server runs; it is stopped with SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tl_keras", "serve", str(run), "--name", "model", "--port", str(port), *options]
    process = subprocess.Popen(command)
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz"):
                break
            if process.poll() is not None:
                sys.exit("the server did not begin")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1/models/model:predict", process.pid
    finally:
        process.terminate()
        print("the server ended with", process.wait(timeout=60))


def load(address: str, clients: int, seconds: int, folder: Path) -> dict:
    """What wrk sees of so many clients."""
    command = [
        "wrk",
        "-t1",
        f"-c{clients}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "-s",
        str(folder / "wrk.lua"),
        address,
    ]
    told = subprocess.run(
        command, env={**os.environ, "BODIES": str(folder / "bodies")}, check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(next(line[5:] for line in told.splitlines() if line.startswith("JSON ")))
    found["rows_per_second"] = found["requests"] / found.pop("microseconds") * 1e6
    return {"clients": clients, **{name: round(value, 2) for name, value in found.items()}}


RUDE = (
    "a client that goes away",
    "garbage",
    "a body of 10 MB and more",
    "10,000 rows",
    "a client that stops in the middle",
)


def rude_clients(address: str, folder: Path, seconds: int = 20) -> dict:
    """What becomes of 8 polite clients, and of each rude one, while rude ones come again and again, under the server's own limits.

    Args:
        address: of the model.
        folder: with the bodies.
        seconds: for which both ask.

    Returns:
        `polite`: see `load`; `rude`: by kind how many there were and what they were told.
    """
    host, _, path = address.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    text = json.loads((folder / "bodies").read_text("utf-8").splitlines()[0])["instances"][0]

    def request(body: bytes, length: int | None = None) -> bytes:
        return (
            f"POST /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length or len(body)}\r\n\r\n".encode()
            + body
        )

    few, rows = (json.dumps({"instances": [text] * count}).encode() for count in (100, 10_000))
    large = json.dumps({"instances": ["x" * 11_000_000]}).encode()
    sent = dict(
        zip(
            RUDE,
            (request(few), b"\x16\x03\x01 no HTTP\r\n\r\n", request(large), request(rows), request(b'{"inst', 1000)),
            strict=True,
        )
    )
    told = {kind: Counter() for kind in RUDE}
    stop = threading.Event()

    def be_rude(kind: str) -> None:
        while not stop.is_set():
            status = "nothing"
            with (
                contextlib.suppress(ConnectionError),
                socket.create_connection((name, int(port)), timeout=120) as connection,
            ):
                connection.sendall(sent[kind])
                if kind != RUDE[0]:
                    status = connection.recv(20).decode("latin-1").partition(" ")[2][:3] or "nothing"
            told[kind][status] += 1
            stop.wait(1)

    threads = [threading.Thread(target=be_rude, args=(kind,)) for kind in RUDE]
    for thread in threads:
        thread.start()
    try:
        polite = load(address, 8, seconds, folder)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return {"polite": polite, "rude": {kind: dict(found) for kind, found in told.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder or export of a classifier")
    parser.add_argument("--encoder", default="ko-en-small")
    parser.add_argument("--seconds", type=int, default=20, help="for each number of clients")
    parser.add_argument(
        "--option", action="append", default=[], help="of the server, such as --option=--batch-delay-ms=5"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results" / "serving.json")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("this needs wrk (apt-get install wrk)")
    texts = reviews()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = arguments.run or untrained(arguments.encoder, folder)
        (folder / "wrk.lua").write_text(SCRIPT)
        (folder / "bodies").write_text("".join(json.dumps({"instances": [text]}) + "\n" for text in texts), "utf-8")
        result = {
            "model": str(arguments.run or arguments.encoder),
            "options": arguments.option,
            "cores": len(os.sched_getaffinity(0)),
            "load_before": round(os.getloadavg()[0], 2),
            "bare": bare(run, texts, arguments.seconds),
            "load": [],
        }
        with served(run, arguments.option) as (address, server):
            load(address, 8, 2, folder)  # warm
            for clients in CLIENTS:
                used = cpu_seconds(server)
                found = load(address, clients, arguments.seconds, folder)
                found["cpu_ms_per_row"] = round((cpu_seconds(server) - used) / found["requests"] * 1000, 3)
                found["share_of_bare"] = round(found["rows_per_second"] / result["bare"]["rows_per_second"], 3)
                result["load"].append(found)
                print(found, flush=True)
            result |= rude_clients(address, folder)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
