"""The optimizer of pre-training and distillation."""

from __future__ import annotations

import keras


def make_optimizer(weight_decay: float = 0.01) -> keras.optimizers.Optimizer:
    """AdamW as BERT uses it: no decay on biases and layer norms, gradients clipped to norm 1.

    `beta_2` is 0.98 and epsilon 1e-6 as in Liu et al. 2019, https://arxiv.org/abs/1907.11692, section 3.1: steadier at
    the high rates of short runs.
    """
    optimizer = keras.optimizers.AdamW(
        learning_rate=1e-3, weight_decay=weight_decay, beta_2=0.98, epsilon=1e-6, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma", "layer_norm"])
    return optimizer
