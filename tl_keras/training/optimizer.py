"""AdamW as BERT was fine-tuned with, its groups of weights, and what is frozen in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from tl_keras._keras import IS_KERAS_3, keras, register, tf_variable
from tl_keras.errors import UserError
from tl_keras.options import check_ranges
from tl_keras.training.step import WarmupLinearDecay, sum_over_replicas

WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0


@register
class AdamW(keras.optimizers.AdamW):
    """AdamW that decays matrices only: biases and layer-norm scales are left alone.

    Works on shapes and names that hub modules have: some keep query biases as `[heads, size]`, so the rank alone does not tell.

    Groups of variables may learn at rates of their own, or be frozen for a while: see `set_groups`.

    Moments and weights move in one pass over memory, by TensorFlow's own Adam kernel. Keras writes the step as a dozen
    operations, each of which reads all weights anew: with short batches, that takes longer than a block of the encoder.

    Epsilon is added to the root of the corrected second moment, as in the paper and in PyTorch. (Keras adds it before the correction.)

    Source: Kingma and Ba, "Adam", https://arxiv.org/abs/1412.6980, algorithm 1; Loshchilov and Hutter, "Decoupled Weight Decay
        Regularization", https://arxiv.org/abs/1711.05101; which weights decay follows the published BERT code,
        https://github.com/google-research/bert/blob/master/optimization.py.
    """

    def __init__(self, *args, groups: dict | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.group_names: tuple[str, ...] = ()
        if groups:
            self.set_groups(**groups)

    def set_groups(
        self,
        names: Sequence[str],
        members: Sequence[int],
        multipliers: Sequence[float],
        unfrozen_at: Sequence[int] | None = None,
    ) -> None:
        """Let groups of variables learn at different rates, or not yet. Before the first step.

        The multiplier goes to the rate of the step and of the weight decay, not to the gradient, which Adam would scale away again. A
        group that is frozen is not touched: no step, no decay, moments as they are, and no part in the norm that is clipped. Its
        bias correction counts from the step at which it woke.

        Args:
            names: of the groups.
            members: for each trainable variable, in the model's order, the place of its group in `names`.
            multipliers: of each group, at least 0.
            unfrozen_at: for each group the optimizer step from which on it learns, or -1 for one that is frozen. All learn by
                default.

        Raises:
            UserError: the optimizer has taken steps already, or is set to `amsgrad`.
        """
        if getattr(self, "built", False) or getattr(self, "_built", False):
            raise UserError(
                "rates of groups are set before the optimizer's first step; make a new optimizer for others."
            )
        if self.amsgrad:
            raise UserError("rates of groups cannot be combined with amsgrad.")
        self.group_names = tuple(names)
        self._members = tuple(int(i) for i in members)
        unfrozen_at = [0] * len(names) if unfrozen_at is None else list(unfrozen_at)
        # Known while tracing, so that a plain run is spared the operations.
        self._some_frozen = any(since < 0 for since in unfrozen_at) or any(
            multiplier == 0 for multiplier in multipliers
        )
        with self._distribution_strategy.scope():
            self._group_multipliers = self.add_variable((len(names),), dtype="float32", name="group_multipliers")
            # int32 would live on the CPU beside weights on a GPU, and float32 counts steps exactly up to 16 million.
            self._unfrozen_at = self.add_variable((len(names),), dtype="float32", name="unfrozen_at")
        tf_variable(self._group_multipliers).assign([float(multiplier) for multiplier in multipliers])
        tf_variable(self._unfrozen_at).assign([float(since) for since in unfrozen_at])

    def unfreeze(self, names: Iterable[str]) -> list[str]:
        """Let groups that are frozen learn from the next step on.

        Args:
            names: of groups; those that learn already stay as they are.

        Returns:
            Those that slept.
        """
        since = tf_variable(self._unfrozen_at).numpy()
        places = [i for i, name in enumerate(self.group_names) if name in set(names) and since[i] < 0]
        if places:
            since[places] = float(self.iterations.numpy())
            tf_variable(self._unfrozen_at).assign(since)
        return [self.group_names[i] for i in places]

    def multipliers(self) -> dict[str, float]:
        """What each group's rate is multiplied by at this moment: 0 for those that are frozen."""
        if not self.group_names:
            return {}
        multipliers, since = tf_variable(self._group_multipliers).numpy(), tf_variable(self._unfrozen_at).numpy()
        return {name: float(multipliers[i]) * (since[i] >= 0) for i, name in enumerate(self.group_names)}

    def get_config(self) -> dict:
        """The constructor's arguments, the groups as they are now among them."""
        config = super().get_config()
        if self.group_names:
            config["groups"] = {
                "names": list(self.group_names),
                "members": list(self._members),
                "multipliers": tf_variable(self._group_multipliers).numpy().tolist(),
                "unfrozen_at": [int(since) for since in tf_variable(self._unfrozen_at).numpy()],
            }
        return config

    def _use_weight_decay(self, variable) -> bool:
        # The hook both Kerases ask for each variable. (Their exclude lists get lost when a model is saved and loaded.)
        return is_matrix(variable) and super()._use_weight_decay(variable)

    def _apply_weight_decay(self, variables) -> None:
        # Done in `update_step`, where the variable's own rate is known.
        pass

    def apply(self, grads, trainable_variables=None):
        """Keras 3: apply gradients; those of groups that are frozen do not count for clipping."""
        if self.group_names and self._some_frozen:
            if trainable_variables is None:
                trainable_variables = self._trainable_variables
            elif not self.built:
                self.build(list(trainable_variables))
            grads = [self._unless_frozen(g, v) for g, v in zip(grads, trainable_variables, strict=True)]
        return super().apply(grads, trainable_variables)

    def apply_gradients(self, grads_and_vars, *args, **kwargs):
        """Apply gradients; those of groups that are frozen do not count for clipping."""
        if not IS_KERAS_3 and self.group_names and self._some_frozen:
            grads_and_vars = list(grads_and_vars)
            with tf.init_scope():
                self.build([v for _, v in grads_and_vars])
            grads_and_vars = [(self._unless_frozen(g, v), v) for g, v in grads_and_vars]
        return super().apply_gradients(grads_and_vars, *args, **kwargs)

    def _backend_apply_gradients(self, grads, trainable_variables):
        """Keras 3: add the replicas' gradients up before they are clipped, as Keras 2 does; Keras 3 would clip each replica's own."""
        super()._backend_apply_gradients(sum_over_replicas(list(grads)), trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        # Keras 3 comes here after clipping, when they are summed.
        return list(grads_and_vars)

    def aggregate_gradients(self, grads_and_vars):
        """Keras 2: add the replicas' gradients up, before they are clipped."""
        pairs = list(grads_and_vars)
        return list(zip(sum_over_replicas([g for g, _ in pairs]), [v for _, v in pairs], strict=True))

    def _unless_frozen(self, gradient, variable):
        """The gradient, or zeros for a variable that must not move."""
        if gradient is None:
            return None
        gradient = tf.convert_to_tensor(gradient)
        rate, _, unfrozen = self._group_state(self._index(variable))
        return tf.where(unfrozen & (rate > 0.0), gradient, tf.zeros_like(gradient))

    def _index(self, variable) -> int:
        return self._get_variable_index(variable) if IS_KERAS_3 else self._index_dict[self._var_key(variable)]

    def _group_state(self, index: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """`(multiplier, step at which it woke, whether it is unfrozen)` of a variable's group."""
        place = self._members[index]
        since = tf.convert_to_tensor(self._unfrozen_at)[place]
        return tf.convert_to_tensor(self._group_multipliers)[place], since, since >= 0.0

    def update_step(self, gradient, variable, learning_rate=None):
        """Move one variable; called by both Kerases, by Keras 3 with the rate.

        Args:
            gradient: tensor of the variable's shape, or `tf.IndexedSlices`.
            variable: a weight.
            learning_rate: scalar; `None` means the optimizer's own.
        """
        dtype = variable.dtype
        rate = tf.convert_to_tensor(self.learning_rate if learning_rate is None else learning_rate)
        rate = tf.cast(rate, dtype)
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        power_1, power_2 = tf.pow(beta_1, step), tf.pow(beta_2, step)
        index = self._index(variable)
        if self.group_names:
            gradient = tf.convert_to_tensor(gradient)
            multiplier, since, unfrozen = self._group_state(index)
            if self._some_frozen:
                moves = unfrozen & (multiplier > 0.0)
                multiplier = tf.where(moves, multiplier, 0.0)
                step = tf.where(unfrozen, step - tf.cast(since, dtype), step)
                power_1, power_2 = tf.pow(beta_1, step), tf.pow(beta_2, step)
                # A moment that keeps all of itself stays as it is.
                one = tf.ones([], dtype)
                beta_1, beta_2 = tf.where(moves, beta_1, one), tf.where(moves, beta_2, one)
            rate = rate * tf.cast(multiplier, dtype)
        target = tf_variable(variable)
        if self.weight_decay and self._use_weight_decay(variable):
            # The two numbers first: each product with the weights is a pass over all of them.
            target.assign_sub(tf.convert_to_tensor(target) * (tf.cast(self.weight_decay, dtype) * rate))
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            # The kernel knows neither. Our own layers hand out dense gradients (encoders/dense_gradients.py).
            return super().update_step(gradient, variable, *(() if learning_rate is None else (learning_rate,)))
        tf.raw_ops.ResourceApplyAdam(
            var=target.handle,
            m=tf_variable(self._momentums[index]).handle,
            v=tf_variable(self._velocities[index]).handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            # The kernel adds epsilon to the root of the moment before its bias is corrected, which makes it up to thirty times as
            # large in the first steps, when many gradients of a large network are smaller than that.
            epsilon=tf.cast(self.epsilon, dtype) * tf.sqrt(1 - power_2),
            grad=tf.cast(gradient, dtype),
        )


def is_matrix(variable) -> bool:
    """Whether a weight is a matrix (a kernel or an embedding), not a bias or a normalisation scale.

    Example:
        >>> is_matrix(tf.Variable(tf.zeros([4, 4]), name="dense/kernel"))
        True
        >>> is_matrix(tf.Variable(tf.zeros([2, 2]), name="query/bias"))
        False
    """
    name = getattr(variable, "path", variable.name).split("/")[-1]
    return len(variable.shape) >= 2 and "bias" not in name


def make_optimizer(learning_rate: float | keras.optimizers.schedules.LearningRateSchedule) -> AdamW:
    """The optimizer that builders compile with: AdamW, warm-up and decay, weight decay 0.01 on matrices, gradient norm at most 1.

    Args:
        learning_rate: the peak rate, or a schedule of your own.
    """
    if isinstance(learning_rate, (int, float)):
        check_ranges({"learning_rate": learning_rate})
        learning_rate = WarmupLinearDecay(learning_rate)
    return AdamW(learning_rate=learning_rate, weight_decay=WEIGHT_DECAY, global_clipnorm=CLIP_NORM, epsilon=1e-6)
