"""How fast weights learn: AdamW as BERT was fine-tuned with, and the schedule of its rate."""

from __future__ import annotations

import tensorflow as tf

from tl_keras._keras import IS_KERAS_3, keras, register, tf_variable

WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
WARMUP_SHARE = 0.1


@register
class AdamW(keras.optimizers.AdamW):
    """AdamW that decays matrices only: biases and layer-norm scales are left alone.

    Works on shapes and names that hub modules have: some keep query biases as `[heads, size]`, so the rank alone does not tell.

    Moments and weights move in one pass over memory, by TensorFlow's own Adam kernel. Keras writes the step as a dozen
    operations, each of which reads all weights anew: with short batches, that takes longer than a block of the encoder.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", https://arxiv.org/abs/1711.05101; which weights
        decay follows the published BERT code, https://github.com/google-research/bert/blob/master/optimization.py.
    """

    def _use_weight_decay(self, variable) -> bool:
        # The hook both Kerases ask for each variable. (Their exclude lists get lost when a model is saved and loaded.)
        return is_matrix(variable) and super()._use_weight_decay(variable)

    def update_step(self, gradient, variable, learning_rate=None):
        """Move one variable; called by both Kerases, by Keras 3 with the rate.

        Args:
            gradient: tensor of the variable's shape, or `tf.IndexedSlices`.
            variable: a weight.
            learning_rate: scalar; `None` means the optimizer's own.
        """
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            # The kernel knows neither. Our own layers hand out dense gradients (hub/dense_gradients.py).
            rate = () if learning_rate is None else (learning_rate,)
            return super().update_step(gradient, variable, *rate)
        index = self._get_variable_index(variable) if IS_KERAS_3 else self._index_dict[self._var_key(variable)]
        dtype = variable.dtype
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, dtype), tf.cast(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=tf_variable(variable).handle,
            m=tf_variable(self._momentums[index]).handle,
            v=tf_variable(self._velocities[index]).handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(self.learning_rate if learning_rate is None else learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, dtype),
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


@register
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The rate rises linearly over the first steps to its peak, then falls linearly to zero at the last step.

    How many steps there will be is known when training starts, not when a model is built: until `plan` has been called, the rate
    is the peak rate.

    Args:
        peak: the highest rate.
        warmup: share of the steps during which it rises.
        first_step: the optimizer step at which the plan begins.
        steps: how many steps the plan has; 0 for no plan.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, appendix A.2 and A.3.

    Example:
        >>> schedule = WarmupLinearDecay(1e-3, warmup=0.2, steps=10)
        >>> [round(float(schedule(step)) * 1e4, 2) for step in (0, 1, 2, 6, 10)]
        [5.0, 10.0, 10.0, 5.0, 0.0]
    """

    def __init__(self, peak: float, warmup: float = WARMUP_SHARE, first_step: int = 0, steps: int = 0):
        super().__init__()
        self.peak = float(peak)
        self.warmup = float(warmup)
        # Variables, so that a training function traced earlier follows a new plan.
        self.first_step = tf.Variable(float(first_step), trainable=False, dtype=tf.float32, name="first_step")
        self.steps = tf.Variable(float(steps), trainable=False, dtype=tf.float32, name="steps")

    def plan(self, first_step: int, steps: int) -> None:
        """Spread warm-up and decay over `steps` steps from `first_step` on."""
        self.first_step.assign(float(first_step))
        self.steps.assign(float(steps))

    def __call__(self, step) -> tf.Tensor:
        """The rate at an optimizer step: float32 scalar."""
        done = tf.cast(tf.convert_to_tensor(step), tf.float32) - self.first_step
        rising = tf.maximum(tf.floor(self.steps * self.warmup), 1.0)
        up = (done + 1.0) / rising
        down = (self.steps - done) / tf.maximum(self.steps - rising, 1.0)
        factor = tf.clip_by_value(tf.minimum(up, down), 0.0, 1.0)
        return self.peak * tf.where(self.steps > 0.0, factor, 1.0)

    def get_config(self) -> dict:
        """The constructor's arguments, the current plan among them."""
        return {
            "peak": self.peak,
            "warmup": self.warmup,
            "first_step": int(self.first_step.numpy()),
            "steps": int(self.steps.numpy()),
        }


def default_learning_rate(width: int | None, trainable: bool) -> float:
    """A peak rate that suits the encoder's width and what learns.

    Fine-tuning BERT-base (width 768) works at 2e-5 to 5e-5; narrower encoders want more, about in inverse proportion (seen with
    MiniLM, 384: 1e-4). A head on a frozen encoder starts from nothing and takes a hundred times that.

    Args:
        width: of the encoder's output; None if unknown.
        trainable: whether the encoder learns.

    Example:
        >>> default_learning_rate(768, trainable=True), default_learning_rate(384, trainable=True)
        (5e-05, 0.0001)
    """
    if not trainable:
        return 5e-3
    return min(5e-5 * 768 / (width or 768), 5e-4)


def make_optimizer(learning_rate: float | keras.optimizers.schedules.LearningRateSchedule) -> AdamW:
    """The optimizer that builders compile with: AdamW, warm-up and decay, weight decay 0.01 on matrices, gradient norm at most 1.

    Args:
        learning_rate: the peak rate, or a schedule of your own.
    """
    if isinstance(learning_rate, (int, float)):
        learning_rate = WarmupLinearDecay(learning_rate)
    return AdamW(learning_rate=learning_rate, weight_decay=WEIGHT_DECAY, global_clipnorm=CLIP_NORM, epsilon=1e-6)
