"""The schedule of the learning rate: warm-up and decay."""

from __future__ import annotations

import tensorflow as tf

from tl_keras._keras import keras, register

WARMUP_FRACTION = 0.1


@register
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The rate rises linearly over the first steps to its peak, then falls linearly to zero at the last step.

    How many steps there will be is known when training starts, not when a model is built: until `plan` has been called, the rate
    is the peak rate.

    Args:
        peak: the highest rate.
        warmup: fraction of the steps during which it rises.
        first_step: the optimizer step at which the plan begins.
        steps: how many steps the plan has; 0 for no plan.

    Source: Devlin et al., "BERT", https://arxiv.org/abs/1810.04805, appendix A.2 and A.3.

    Example:
        >>> schedule = WarmupLinearDecay(1e-3, warmup=0.2, steps=10)
        >>> [round(float(schedule(step)) * 1e4, 2) for step in (0, 1, 2, 6, 10)]
        [5.0, 10.0, 10.0, 5.0, 0.0]
    """

    def __init__(self, peak: float, warmup: float = WARMUP_FRACTION, first_step: int = 0, steps: int = 0):
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
