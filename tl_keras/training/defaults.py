"""How long and how fast to learn where nobody says: one rule each, for runs, builders and advice."""

from __future__ import annotations

import math


def default_learning_rate(width: int | None, trainable: bool, suggested: float | None = None) -> float:
    """A peak rate that suits the encoder and what learns.

    Fine-tuning BERT-base (width 768) works at 2e-5 to 5e-5; narrower encoders want more, about in inverse proportion (seen with
    MiniLM, 384: 1e-4). A head on a frozen encoder starts from nothing and takes a hundred times that.

    Args:
        width: of the encoder's output; None if unknown.
        trainable: whether the encoder learns.
        suggested: for fine-tuning, by the encoder's makers (`Encoder.suggested`).

    Example:
        >>> default_learning_rate(768, trainable=True), default_learning_rate(384, trainable=True)
        (5e-05, 0.0001)
    """
    if not trainable:
        return 5e-3
    return suggested or min(5e-5 * 768 / (width or 768), 5e-4)


def default_epochs(examples: int, batch_size: int, transfer: str) -> int:
    """Epochs where the user names none: three, or more where so few examples would give too few steps to learn from.

    Example:
        >>> default_epochs(20000, 32, "fine-tune"), default_epochs(320, 32, "fine-tune"), default_epochs(320, 32, "freeze")
        (3, 8, 40)
    """
    steps = math.ceil(examples / batch_size)
    fewest, wanted, most = (3, 80, 10) if transfer != "freeze" else (10, 400, 40)
    return max(fewest, min(math.ceil(wanted / steps), most))
