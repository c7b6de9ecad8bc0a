"""What `advise` hands back: all that was found out, as text and as plain numbers."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from tl_keras.advice.curve import Curve
from tl_keras.advice.domain import ProxyDistance, PseudoPerplexity
from tl_keras.advice.power_law import RANGE
from tl_keras.advice.rules import (
    CONTRADICTING,
    FEW_IN_CLASS,
    STRANGE,
    UNBALANCED,
    Recommendation,
)
from tl_keras.advice.texts import LabelReport, LengthReport

CLASSES_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class DomainSimilarity:
    """How like the texts are to what the encoder knows.

    Attributes:
        reference: what they were compared with, in words; None if with nothing.
        own: pseudo-perplexity on the texts; None if the encoder has no masked-LM head.
        known: the same on the reference.
        distance: proxy A-distance to the reference; None if the head told more, or there is no reference.
    """

    reference: str | None = None
    own: PseudoPerplexity | None = None
    known: PseudoPerplexity | None = None
    distance: ProxyDistance | None = None

    @property
    def perplexity_ratio(self) -> float | None:
        """Bits a character of the texts, divided by those of the reference."""
        if self.own is None or self.known is None:
            return None
        return self.own.bits_per_character / self.known.bits_per_character

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        parts = {name: getattr(self, name) for name in ("own", "known", "distance")}
        return {
            "reference": self.reference,
            "perplexity_ratio": self.perplexity_ratio,
            **{name: None if part is None else part.to_dict() for name, part in parts.items()},
        }


@dataclasses.dataclass(frozen=True)
class Advice:
    """What was found out about labelled texts and an encoder, and what to do; `str` gives a page of text.

    Attributes:
        source: where the texts came from.
        encoder: its name.
        labels: their number and balance, repeats and contradictions.
        lengths: in tokens, of a sample; what is cut and unknown.
        domain: to what the encoder knows.
        curves: of the frozen encoder and of TF-IDF; empty if there are too few texts.
        recommendation: what to do.
        command: the words of the `tl-keras train` call that does it.
        sampled: how many different texts the curves were measured on.
        notes: what else is worth knowing, in sentences.
    """

    source: str
    encoder: str
    labels: LabelReport
    lengths: LengthReport
    domain: DomainSimilarity
    curves: tuple[Curve, ...]
    recommendation: Recommendation
    command: tuple[str, ...]
    sampled: int
    notes: tuple[str, ...]

    @property
    def command_line(self) -> str:
        """The call, quoted for a shell."""
        return shlex.join(self.command)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts: what `--json` prints."""
        return {
            "source": self.source,
            "encoder": self.encoder,
            "labels": self.labels.to_dict(),
            "lengths": self.lengths.to_dict(),
            "domain_similarity": self.domain.to_dict(),
            "curves": [curve.to_dict() for curve in self.curves],
            "sampled": self.sampled,
            "recommendation": {
                **dataclasses.asdict(self.recommendation),
                "headline": self.recommendation.headline,
                "reasons": list(self.recommendation.reasons),
                "command": self.command_line,
            },
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        sections = [
            (
                f"{self.source}, {self.encoder}",
                [label_line(self.labels), *length_lines(self.lengths), *domain_lines(self.domain)],
            ),
            ("Learning curve", curve_lines(self.curves)),
            (
                "What to do",
                [self.recommendation.headline, *self.recommendation.reasons, *self.notes, "", f"  {self.command_line}"],
            ),
        ]
        return "\n\n".join("\n".join([title, *lines]) for title, lines in sections)


def label_line(report: LabelReport) -> str:
    """Number and balance of the labels."""
    common = sorted(report.counts.items(), key=lambda item: -item[1])
    named = ", ".join(f"{name} {count:,}" for name, count in common[:CLASSES_SHOWN])
    more = f" and {len(common) - CLASSES_SHOWN} more" if len(common) > CLASSES_SHOWN else ""
    return (
        f"{report.examples:,} examples, {len(common)} classes: {named}{more}; {report.repeats:,} repeat an earlier text"
    )


def length_lines(report: LengthReport) -> list[str]:
    """Lengths, what is cut, and what is unknown."""
    found = report.percentiles
    line = f"{report.unit} a text: {found[50]} in the middle, {found[95]} at most in 95 %, {found[100]} in the longest of {report.texts:,}"
    if report.seq_length is None:
        return [line]
    lines = [f"{line}; {report.cut:.1%} are cut at {report.seq_length}"]
    known = f"{report.unknown_tokens:.2%} of the tokens and {report.unknown_words:.2%} of the words are unknown to the vocabulary"
    if report.commonest_unknown:
        known += f", most often {', '.join(list(report.commonest_unknown)[:5])}"
    return [*lines, known]


def domain_lines(domain: DomainSimilarity) -> list[str]:
    """How surprised the encoder is, or how far the texts are from the reference."""
    if domain.own is not None:
        line = f"pseudo-perplexity {domain.own.perplexity:.0f} a token, {domain.own.bits_per_character:.2f} bits a character"
        if domain.known is None:
            return [f"{line} (nothing to compare it with: name texts that the encoder knows with --reference)"]
        return [
            f"{line}; {domain.known.bits_per_character:.2f} bits on {domain.reference} (further pre-training from {STRANGE:g} times)"
        ]
    if domain.distance is not None:
        return [
            f"proxy A-distance {domain.distance.distance:.2f} of 2 from {domain.reference}: a classifier tells the two apart with "
            f"{domain.distance.error:.0%} errors. Almost any two kinds of text can be told apart; this decides nothing."
        ]
    return [
        "domain similarity not measured: the encoder has no masked-LM head, and there is no --reference to compare with"
    ]


def curve_lines(curves: tuple[Curve, ...]) -> list[str]:
    """The measured points and the forecasts, as a table."""
    if not curves:
        return ["too few different texts for one; counts, lengths and domain similarity above hold all the same"]
    rows = [("labels", *(curve.method for curve in curves))]
    for point, size in enumerate(curves[0].sizes):
        cells = [f"{c.accuracy[point].mean():.3f} (macro F1 {c.macro_f1[point].mean():.3f})" for c in curves]
        rows.append((f"{size:,}", *cells))
    for point, entry in enumerate(curves[0].forecasts):
        cells = [
            f"{c.forecasts[point].accuracy:.3f} ({c.forecasts[point].low:.3f} to {c.forecasts[point].high:.3f})"
            for c in curves
        ]
        rows.append((f"{entry.labels:,} (forecast)", *cells))
    width = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{size}}" for cell, size in zip(row, width, strict=True)).rstrip() for row in rows]
    repeats = curves[0].accuracy.shape[1]
    return [
        *lines,
        f"Accuracy on held-out texts, mean of {repeats} splits. Forecasts continue a power law; their ranges should hold {RANGE * 10:.0f} "
        "times in ten near the measured sizes, and less often far beyond.",
    ]


def label_notes(report: LabelReport) -> list[str]:
    """What about the labels needs the user's eye."""
    notes = []
    if report.conflicting:
        fraction = report.conflicting_examples / report.examples
        shown = "; ".join(
            f"{_short(conflict.text)!r}: {', '.join(f'{name} {count}' for name, count in conflict.labels.items())}"
            for conflict in report.conflicts
        )
        advice = "Mend these first: no model can learn both." if fraction > CONTRADICTING else "Look at these."
        notes.append(
            f"{report.conflicting} text(s) occur with different labels, in {report.conflicting_examples} rows: {shown}. {advice}"
        )
    few = [name for name, count in report.counts.items() if count < FEW_IN_CLASS]
    if few:
        notes.append(f"Fewer than {FEW_IN_CLASS} examples of {', '.join(few[:10])}: these will hardly be learned.")
    if report.imbalance >= UNBALANCED:
        notes.append(
            f"The most common class is {report.imbalance:.0f} times as common as the rarest: judge by macro F1, not by accuracy, and "
            "try --class-weight balanced."
        )
    return notes


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
