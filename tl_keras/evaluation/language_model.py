"""How well a causal language model predicts texts: perplexity."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class PerplexityReport:
    """How surprising texts are to a model.

    It depends on the tokens: compare it only among models with the same tokenizer.

    Args:
        loss: mean cross-entropy of a token, in nats; the ends of texts are tokens too.
        tokens: that were predicted.
        texts: how many.

    Example:
        >>> print(PerplexityReport(loss=math.log(20.0), tokens=1234, texts=100))
        perplexity 20.0 (2.9957 nats a token, 1,234 tokens of 100 texts)
    """

    loss: float
    tokens: int
    texts: int

    @property
    def perplexity(self) -> float:
        """`exp` of the loss: among so many equally likely tokens the model chooses each time."""
        return math.exp(min(self.loss, 700.0))

    def to_dict(self) -> dict:
        """The figures by name."""
        return {"perplexity": self.perplexity, "loss": self.loss, "tokens": self.tokens, "texts": self.texts}

    def __str__(self) -> str:
        return f"perplexity {self.perplexity:,.1f} ({self.loss:.4f} nats a token, {self.tokens:,} tokens of {self.texts:,} texts)"
