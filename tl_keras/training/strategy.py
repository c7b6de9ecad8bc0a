"""Where a model's variables live and how its batches are shared out: `tf.distribute` by name."""

from __future__ import annotations

import glob
import importlib.util
import logging
import os

import tensorflow as tf

from tl_keras._keras import IS_KERAS_3, WAY_TO_KERAS_2, keras
from tl_keras.errors import UserError
from tl_keras.training.cluster import STRATEGIES, cluster_from_environment

logger = logging.getLogger(__name__)

NEEDS_KERAS_2 = {
    "multi-worker": "Keras 3's fit fails under MultiWorkerMirroredStrategy (keras issue 20585)",
}


def get_strategy(
    name: str = "auto", *, virtual_devices: int | None = None, tpu: str | None = None
) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy of that name. Load encoders and build models inside its `scope()`.

    For several workers call it before anything else that uses TensorFlow: the connections are made at the start of a program.

    Args:
        name: `"one-device"`; `"mirrored"`: all GPUs of this machine; `"multi-worker"`: several processes or machines, told by
            `TF_CONFIG` or Slurm; `"tpu"`. `"auto"` takes a TPU if there is one, else what `TF_CONFIG` describes, if that is several workers, else
            several GPUs, else one device.
        virtual_devices: split the CPU into so many devices, to try out without GPUs what several would do.
        tpu: name or address of the TPU; by default what the environment says.

    Raises:
        UserError: no such strategy, no such device, or the active Keras cannot do it.

    Example:
        >>> get_strategy("one-device").num_replicas_in_sync
        1
    """
    if name not in STRATEGIES:
        raise UserError(f"strategy {name!r} is not known; choose one of: {', '.join(STRATEGIES)}.")
    gpus = tf.config.list_physical_devices("GPU")
    _let_memory_grow(gpus)
    if virtual_devices is not None:
        use_virtual_devices(virtual_devices)
    reason = "asked for"
    if name == "auto":
        name, reason = _choose(tpu or tpu_address(), len(gpus))
    if name in NEEDS_KERAS_2 and IS_KERAS_3:
        raise UserError(f"{NEEDS_KERAS_2[name]}, so strategy {name!r} needs {WAY_TO_KERAS_2}")
    make = {
        "one-device": tf.distribute.get_strategy,
        "mirrored": _mirrored,
        "multi-worker": _multi_worker,
        "tpu": lambda: _tpu(tpu or tpu_address()),
    }
    strategy = make[name]()
    logger.info("Strategy: %s, %d replica(s) (%s).", name, strategy.num_replicas_in_sync, reason)
    return strategy


def tpu_address() -> str | None:
    """The TPU that the environment tells of, or None. Asks nobody over the network, so it takes no time where there is none."""
    for variable in ("TPU_NAME", "COLAB_TPU_ADDR", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"):
        if os.environ.get(variable):
            return os.environ[variable]
    # A TPU VM has the chips as devices, and TensorFlow drives them through libtpu.
    chips = glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*")
    return "local" if chips and importlib.util.find_spec("libtpu") is not None else None


def use_virtual_devices(count: int) -> None:
    """Split the CPU into logical devices. Before TensorFlow runs its first operation.

    Args:
        count: how many.

    Raises:
        UserError: TensorFlow has started already, with another number.
    """
    if count < 1:
        raise UserError(f"virtual_devices must be at least 1, not {count}.")
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) != count:
            raise UserError(
                "virtual devices are made before TensorFlow runs its first operation; start Python anew."
            ) from error


def is_chief(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Whether this process writes the files: true for the first of several workers, and for one that works alone.

    Saving and exporting are done by all workers together; the others write into a folder that they then delete.

    Args:
        strategy: by default the active one.

    Example:
        >>> is_chief()
        True
    """
    strategy = strategy or tf.distribute.get_strategy()
    cluster = cluster_from_environment() if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else None
    return cluster is None or cluster.is_chief


def batch_options(strategy: tf.distribute.Strategy | None = None, training: bool = True) -> dict[str, bool]:
    """What `encoder.batches(**options)` has to be told under a strategy: a TPU wants one shape for all batches.

    Args:
        strategy: by default the active one.
        training: whether the last, smaller batch may be left out. Metrics are over all examples, so for them it stays.

    Example:
        >>> batch_options()
        {}
    """
    strategy = strategy or tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.TPUStrategy):
        return {}
    return {"fixed_length": True, "drop_remainder": training}


def from_chief(value: float, strategy: tf.distribute.Strategy | None = None) -> float:
    """The first worker's number, for all: what they decide by it (which epoch was best, when to stop) must be the same.

    Each worker computes it from the same weights, but not always to the last digit.

    Args:
        value: this worker's.
        strategy: by default the active one. Without several workers the value is handed back.

    Example:
        >>> from_chief(0.5)
        0.5
    """
    strategy = strategy or tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return value
    mine = value if is_chief(strategy) else 0.0
    total = strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: tf.constant(mine, tf.float64)), axis=None)
    return float(total) / len(strategy.extended.worker_devices)


def refuse_outside(model: keras.Model) -> None:
    """Check that the strategy a model trains under made all of its variables.

    Args:
        model: any Keras model.

    Raises:
        UserError: a layer was made outside the scope.
    """
    strategy = model.distribute_strategy
    if strategy is None or strategy is tf.distribute.get_strategy() or strategy.num_replicas_in_sync == 1:
        return
    created = strategy.extended.variable_created_in_scope
    for layer in model._flatten_layers(include_self=False, recursive=True):
        for variable in layer.variables:
            if not created(getattr(variable, "value", variable) if IS_KERAS_3 else variable):
                raise UserError(
                    f"layer {layer.name!r} was made outside the tf.distribute strategy that trains it, so its weights are not on "
                    "every replica: load the encoder and build the model inside `with strategy.scope():`."
                )


def _choose(tpu: str | None, gpus: int) -> tuple[str, str]:
    """The strategy for what there is, and why."""
    cluster = cluster_from_environment()
    if tpu:
        return "tpu", f"auto: there is a TPU, {tpu}"
    # Tasks of a Slurm step may as well be different experiments; TF_CONFIG has no other meaning.
    if cluster is not None and not cluster.slurm and cluster.workers > 1:
        return "multi-worker", f"auto: TF_CONFIG names {cluster.workers} workers"
    if gpus > 1:
        return "mirrored", f"auto: {gpus} GPUs"
    return "one-device", "auto: one GPU" if gpus else "auto: no TPU, no second worker in TF_CONFIG, no GPU"


def _let_memory_grow(gpus: list) -> None:
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # TensorFlow has started, with whatever was set then.
            logger.debug("memory growth of %s cannot be set any more.", gpu.name)


def _mirrored() -> tf.distribute.Strategy:
    # Without GPUs TensorFlow would take the first logical CPU only.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _multi_worker() -> tf.distribute.Strategy:
    cluster = cluster_from_environment()
    if cluster is None:
        raise UserError(
            "strategy 'multi-worker' has to be told of the workers: set TF_CONFIG, start with srun, or try it on this machine with "
            "`tl-keras launch --workers 2 -- train ...`."
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=cluster.resolver())
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise UserError(
            "workers connect before TensorFlow runs its first operation: call get_strategy('multi-worker') first of all."
        ) from error


def _tpu(address: str | None) -> tf.distribute.Strategy:
    if address is None:
        raise UserError("there is no TPU: neither TPU_NAME is set nor does this machine have TPU chips and libtpu.")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)
