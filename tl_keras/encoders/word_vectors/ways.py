"""The three ways to use word vectors, by name. Importing this loads no TensorFlow."""

from __future__ import annotations

from tl_keras.encoders.blocks import EMBEDDINGS
from tl_keras.encoders.transfer_plan import Transfer
from tl_keras.errors import UserError

WAYS = ("init", "freeze", "slow")
"""Vectors as initial values that learn like all the rest; frozen; and learning at a fraction of the learning rate.

Source: Kim, "Convolutional Neural Networks for Sentence Classification", https://arxiv.org/abs/1408.5882, section 3.1 (its "non-static" and
"static").
"""
SLOW = 0.1
"""Factor on the learning rate at which `"slow"` moves word vectors."""


def way(transfer: str | Transfer, slow: float = SLOW) -> Transfer:
    """What is to learn, of word vectors and what stands behind them.

    Args:
        transfer: one of `WAYS`; `"fine-tune"` means `"init"`. A `Transfer` is returned as it is.
        slow: the fraction of the learning rate for `"slow"`.

    Raises:
        UserError: there is no such way.

    Example:
        >>> way("slow").lr_multipliers
        {'embeddings': 0.1}
    """
    if isinstance(transfer, Transfer):
        return transfer
    if transfer not in (*WAYS, "fine-tune"):
        raise UserError(f"transfer={transfer!r} is not known for word vectors; choose one of: {', '.join(WAYS)}.")
    if not 0.0 < slow <= 1.0:
        raise UserError(f"slow must be a fraction of the learning rate, above 0 and at most 1, not {slow}.")
    if transfer == "freeze":
        return Transfer("freeze")
    return Transfer("fine-tune", lr_multipliers={EMBEDDINGS: slow} if transfer == "slow" else {})
