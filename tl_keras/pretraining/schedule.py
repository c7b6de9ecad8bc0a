"""How far a run has come, and the learning rate and row length that go with it."""

from __future__ import annotations

from dataclasses import dataclass

from tl_keras.errors import UserError


@dataclass(frozen=True)
class Schedule:
    """When a run ends, and what changes until then.

    The learning rate rises linearly during `warmup_steps` and then falls linearly to zero over the run. A run measured
    in minutes ends on time whatever the machine's speed: its progress is the time it has trained, pauses left out.

    Source: linear warm-up and decay as in Devlin et al. 2019, https://arxiv.org/abs/1810.04805, appendix A.2; decay
    over a fixed time budget: Izsak et al. 2021, https://arxiv.org/abs/2104.07705, section 3.

    Attributes:
        steps: Optimizer steps in all, or None.
        minutes: Minutes in all, or None.
        peak_learning_rate: Highest learning rate.
        warmup_steps: Steps until it is reached.
        lengths: Pairs (fraction of the run, row length): each length holds until its fraction of the run is over.
    """

    steps: int | None = None
    minutes: float | None = None
    peak_learning_rate: float = 2e-3
    warmup_steps: int = 200
    lengths: tuple[tuple[float, int], ...] = ((1.0, 128),)

    def __post_init__(self):
        if (self.steps is None) == (self.minutes is None):
            raise UserError("give the length of the run either as --steps or as --minutes")
        if (self.minutes if self.steps is None else self.steps) <= 0:
            raise UserError("--steps or --minutes must be greater than 0")
        fractions = [fraction for fraction, _ in self.lengths]
        if not fractions or fractions != sorted(set(fractions)) or fractions[0] <= 0 or fractions[-1] != 1.0:
            raise UserError("the fractions of --length-schedule must rise, and the last one must be 1")

    @classmethod
    def of(cls, settings) -> Schedule:
        """That which a run's settings ask for."""
        return cls(
            settings.steps, settings.minutes, settings.peak_learning_rate, settings.warmup_steps, settings.row_lengths
        )

    def progress(self, step: int, seconds: float) -> float:
        """Fraction of the run that is over, 0 to 1."""
        return min(step / self.steps if self.steps else seconds / (60 * self.minutes), 1.0)

    def done(self, step: int, seconds: float) -> bool:
        """Whether the run is over."""
        return self.progress(step, seconds) >= 1.0

    def learning_rate(self, step: int, seconds: float) -> float:
        """The rate of the step that comes after `step` steps.

        Example:
            >>> schedule = Schedule(steps=100, peak_learning_rate=1.0, warmup_steps=10)
            >>> [schedule.learning_rate(step, 0.0) for step in (0, 4, 9, 50, 100)]
            [0.1, 0.5, 0.91, 0.5, 0.0]
        """
        warmup = min((step + 1) / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        decay = 1.0 - self.progress(step, seconds)
        return self.peak_learning_rate * min(warmup, decay)

    def row_length(self, step: int, seconds: float) -> int:
        """Longest row, in tokens, at this point."""
        progress = self.progress(step, seconds)
        return next(length for fraction, length in self.lengths if progress < fraction or fraction == 1.0)

    @property
    def longest(self) -> int:
        """The longest row of the whole run."""
        return max(length for _, length in self.lengths)

    def seconds_left(self, step: int, seconds: float, seconds_per_step: float) -> float:
        """Estimated time until the end."""
        return (self.steps - step) * seconds_per_step if self.steps else 60 * self.minutes - seconds


def parse_lengths(text: str) -> tuple[tuple[float, int], ...]:
    """Read a length schedule.

    Example:
        >>> parse_lengths("64@0.5,128@1")
        ((0.5, 64), (1.0, 128))
        >>> parse_lengths("128")
        ((1.0, 128),)
    """
    try:
        parts = [part.split("@") for part in text.split(",")]
        return tuple((float(fraction[0]) if fraction else 1.0, int(length)) for length, *fraction in parts)
    except ValueError:
        raise UserError(f"--length-schedule {text!r}: write LENGTH@FRACTION, for instance 64@0.5,128@1") from None
