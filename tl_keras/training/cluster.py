"""Which worker this process is: what `TF_CONFIG` or Slurm say, known without starting TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

from tl_keras.errors import UserError

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
