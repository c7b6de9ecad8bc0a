"""Workers of one training: which one this process is, by `TF_CONFIG` or Slurm, and several of them on this machine. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tl_keras.errors import PREEMPTED, UserError, on_signals

if TYPE_CHECKING:
    import tensorflow as tf


STRATEGIES = ("auto", "one-device", "mirrored", "multi-worker", "tpu")
"""What `get_strategy` knows by name; here, where no TensorFlow is needed to check a name."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """This process among those that train together.

    Args:
        workers: how many train.
        index: this one's number among them, from 0.
        slurm: whether Slurm said so, and not `TF_CONFIG`.
    """

    workers: int
    index: int
    slurm: bool = False

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes the files for all."""
        return self.index == 0

    def resolver(self) -> tf.distribute.cluster_resolver.ClusterResolver:
        """What tells TensorFlow the addresses."""
        import tensorflow as tf

        resolvers = tf.distribute.cluster_resolver
        if not self.slurm:
            return resolvers.TFConfigClusterResolver()
        if tf.config.list_physical_devices("GPU"):
            return resolvers.SlurmClusterResolver()
        # It counts on GPUs, one task each at least; without them it is only asked for the addresses.
        slurm = resolvers.SlurmClusterResolver(gpus_per_node=self.workers, gpus_per_task=1, auto_set_gpu=False)
        spec = slurm.cluster_spec()
        return resolvers.SimpleClusterResolver(
            spec, task_type=slurm.task_type, task_id=slurm.task_id, rpc_layer=slurm.rpc_layer
        )


def cluster_from_environment() -> Cluster | None:
    """The cluster that `TF_CONFIG` describes, else the tasks of a Slurm step; None if this process works alone.

    Raises:
        UserError: `TF_CONFIG` cannot be read, or names parameter servers.

    Example:
        >>> os.environ["TF_CONFIG"] = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
        >>> cluster = cluster_from_environment()
        >>> cluster.workers, cluster.index, cluster.is_chief
        (2, 1, False)
        >>> del os.environ["TF_CONFIG"]
    """
    raw = os.environ.get("TF_CONFIG", "")
    if raw.strip():
        try:
            config = json.loads(raw)
            members = config.get("cluster", {})
            if not members:
                return None
            kind, index = config["task"]["type"], int(config["task"]["index"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                'TF_CONFIG cannot be read; it looks like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
                '"index": 0}}.'
            ) from error
        if members.get("ps"):
            raise UserError(
                'TF_CONFIG names parameter servers, and no training here uses them: leave "ps" out, and all workers step together.'
            )
        chiefs = len(members.get("chief", members.get("master", ())))
        number = index + (chiefs if kind == "worker" else 0)
        return Cluster(chiefs + len(members.get("worker", ())), number)
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1") or 1)
    if tasks > 1 and "SLURM_PROCID" in os.environ:
        return Cluster(tasks, int(os.environ["SLURM_PROCID"]), slurm=True)
    return None


GRACE = 20.0
"""Seconds that workers get to save and end after SIGTERM."""
CRASH_GRACE = 2.0
"""Seconds they get after one of them crashed: they wait for it in a step that cannot end any more."""
TIMED_OUT = 124
"""As the program `timeout` does."""


def run_workers(
    command: Sequence[str],
    count: int,
    *,
    restarts: int = 0,
    say: Callable[[str], None] = print,
    environment: Mapping[str, str] | None = None,
    grace: float = GRACE,
    timeout: float | None = None,
) -> int:
    """Run a command in several processes that find each other through `TF_CONFIG`, and wait for all.

    When one fails, the others are ended: without it they would wait for ever. Ctrl-C and SIGTERM end them all.

    Args:
        command: program and arguments.
        count: how many workers, at least 1.
        restarts: how often to start them all again after one has failed. The command should then be one that goes on where it was.
        say: takes each line of their output, with the worker's number before it.
        environment: theirs; by default that of this process.
        grace: seconds between asking to end and ending by force.
        timeout: seconds after which they are ended; None waits as long as they take.

    Returns:
        0 if all ended well, else the exit code of the first that failed: 128 and the signal's number for one that was killed, 130 after
        Ctrl-C, 143 after SIGTERM, 124 after the timeout.

    Raises:
        UserError: a wrong count, or the program is not there.

    Example:
        >>> import sys
        >>> run_workers([sys.executable, "-c", "print('hello')"], 2, say=lambda line: None)
        0
    """
    if count < 1:
        raise UserError(f"there must be at least 1 worker, not {count}.")
    until = math.inf if timeout is None else time.monotonic() + timeout
    ended_by: list[int] = []
    with on_signals(ended_by.append):
        for attempt in range(restarts + 1):
            code = _run_once(command, count, say, dict(environment or os.environ), grace, ended_by, until)
            if code in (0, TIMED_OUT) or ended_by:
                break
            if attempt < restarts:
                say(
                    f"[launch] a worker ended with code {code}: starting all {count} again ({attempt + 1} of {restarts})."
                )
    return 128 + ended_by[0] if ended_by else code


def worker_environments(count: int, environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The environment of each process, by its name: `TF_CONFIG` with addresses on 127.0.0.1 that nobody listens at.

    Example:
        >>> json.loads(worker_environments(2, {})["worker 1"]["TF_CONFIG"])["task"]
        {'type': 'worker', 'index': 1}
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    # Piped Python keeps its output back; people want to see it as it comes.
    return {
        f"worker {index}": {
            **environment,
            "PYTHONUNBUFFERED": "1",
            "TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}),
        }
        for index in range(count)
    }


def free_ports(count: int) -> list[int]:
    """So many different ports of 127.0.0.1 that are free at this moment."""
    with contextlib.ExitStack() as stack:
        # All are held until all are known, so that none comes twice.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]


def _run_once(command, count: int, say, environment: dict, grace: float, ended_by: list[int], until: float) -> int:
    workers: list[subprocess.Popen] = []
    readers: list[threading.Thread] = []
    failed = None
    try:
        for name, own in worker_environments(count, environment).items():
            try:
                worker = subprocess.Popen(
                    list(command),
                    env=own,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    errors="replace",
                    # Ctrl-C in the terminal comes to us alone; we tell the workers, in order.
                    start_new_session=True,
                )
            except OSError as error:
                raise UserError(f"cannot start {command[0]}: {error.strerror}.") from error
            workers.append(worker)
            readers.append(threading.Thread(target=_read, args=(worker, name, say), daemon=True))
            readers[-1].start()
        while not ended_by:
            codes = [worker.poll() for worker in workers]
            failed = next((code for code in codes if code), None)
            if failed is not None or all(code == 0 for code in codes):
                break
            if time.monotonic() > until:
                return TIMED_OUT
            time.sleep(0.05)
        return _as_exit_code(failed) if failed else 0
    finally:
        crashed = failed is not None and _as_exit_code(failed) != PREEMPTED
        _end(workers, min(grace, CRASH_GRACE) if crashed else grace)
        for reader in readers:
            reader.join(timeout=5)


def _read(worker: subprocess.Popen, name: str, say: Callable[[str], None]) -> None:
    for line in worker.stdout:
        say(f"[{name}] {line.rstrip()}")


def _end(workers: list[subprocess.Popen], grace: float) -> None:
    """Ask those that still run to end, and end by force, with all that they started, what does not."""
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    until = time.monotonic() + grace
    for worker in workers:
        try:
            worker.wait(max(until - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            # Its own session: this reaches its children and nobody else.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def _as_exit_code(code: int) -> int:
    return code if code > 0 else 128 - code
