"""Which way of transfer? The rules, and the measurements they rest on.

Everything numeric stands at the top, with where it comes from. `python benchmarks/advice.py` replays these rules on
what was measured and says what following them costs; `--gains` prints `ERRORS_REMOVED` anew.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from tl_keras.options import default_epochs, default_learning_rate

FREEZE, TOP, FINE_TUNE = "freeze", "top", "fine-tune"
WAYS = (FREEZE, TOP, FINE_TUNE)
"""From the cheapest to the dearest."""
FEW_SHOT = "few-shot"
"""For so few labels that there is no choosing between the others: see `tl_keras.models.few_shot`."""

# Fraction of a frozen encoder's errors that are gone when its upper half, or all of it, learns; by number of labels. From
# benchmarks/results/transfer_modes.json (`benchmarks/advice.py --gains`), ko-en-small, two seeds for 100 labels and one for 1,000: mean of nsmc, sst2 and trec for
# single texts, question_pair alone for pairs. The data sets differ much: of fine-tuning with 1,000 labels nsmc and sst2 gain 0.11, trec 0.66.
ERRORS_REMOVED: dict[str, dict[int, dict[str, float]]] = {
    "single": {
        100: {TOP: 0.184, FINE_TUNE: 0.15},
        1000: {TOP: 0.222, FINE_TUNE: 0.275},
    },
    "pair": {
        100: {TOP: 0.346, FINE_TUNE: 0.299},
        1000: {TOP: 0.403, FINE_TUNE: 0.42},
    },
}

# Of ways that differ by less than this in expected accuracy the cheaper is taken: half the point that following the advice may cost.
TIE = 0.005

# Labels a class, on average, up to which that is taken. From benchmarks/results/few_labels.json, ko-en-small, sst2 and nsmc with two classes, trec with six: on the
# same draws `auto` is ahead of plain fine-tuning by 2 to 6 points with 8 to 64 labels of each of two classes, by 8 with 8 of six, and a point or less behind with 16 and 64.
FEW_PER_CLASS = {"two classes": 64, "more": 16}

# Epochs while the encoder learns: those of benchmarks/transfer.py (100 labels 15, 1,000 6, 5,000 3, 20,000 2), which this curve goes
# through; in between the number of steps grows steadily.
FEWEST_EPOCHS, MOST_EPOCHS = 2, 15

# Peak rate of encoders up to this width whose makers suggest none: 5e-4, found for one of width 256 (benchmarks/results/ko-en-mini-log.md). Wider ones
# get the package's default, which at MiniLM's 384 (1e-4) gave the figures of sst2.json.
NARROW, NARROW_LEARNING_RATE = 256, 5e-4

# Unknown words beyond which the vocabulary is not made for these texts: of the Korean sample reviews an English encoder knows three in four (notebook 01), ko-en-small all but 0.03 % (notebook 05).
TOO_MANY_UNKNOWN = 0.10

# Bits a character against plain prose of the same language beyond which further pre-training on such texts is worth a try. A judgement: what
# further pre-training gains was not measured. The direction is that of Gururangan et al., "Don't Stop Pretraining",
# https://arxiv.org/abs/2004.10964, section 3: the farther the domain, the larger the gain. For orientation, ko-en-mini by `tl-keras advise`:
# nsmc, of whose kind it read most, 0.7; question_pair 0.9; sst2 1.1; trec, questions only, 1.3.
STRANGE = 1.3

# Text from which further pre-training can learn. A judgement: about a million tokens of two characters, some minutes of reading for a small
# encoder on two cores (3,800 tokens a second, ko-en-mini-log.md).
PRETRAIN_CHARACTERS = 2_000_000

# Classes with fewer examples are learned by luck: with one in four held out, two or three are left to check with.
FEW_IN_CLASS = 10
# The most common class so many times as common as the rarest: accuracy hides what happens to the rare one.
UNBALANCED = 5.0
# Fraction of contradicting examples beyond which it is worth mending labels before anything else.
CONTRADICTING = 0.02


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the rules look at.

    Attributes:
        labels: labelled examples, each text once.
        pairs: whether the examples are pairs.
        blocks: of the encoder, those that can learn apart; 0 if they cannot.
        width: of the encoder's vectors.
        suggested_learning_rate: learning rate of fine-tuning that the encoder's makers suggest; None if they do not.
        frozen: accuracy to expect of logistic regression on the frozen encoder with all the labels; None if not measured.
        words: the same of TF-IDF.
        majority: fraction of the most common class.
        unknown_words: fraction of the words that the vocabulary does not know; None if the encoder shows no tokens.
        perplexity_ratio: bits a character of the texts, divided by those of reference texts; None if not measured.
        labels_per_class: on average; None if not counted.
    """

    labels: int
    pairs: bool
    blocks: int
    width: int
    suggested_learning_rate: float | None = None
    frozen: float | None = None
    words: float | None = None
    majority: float | None = None
    unknown_words: float | None = None
    perplexity_ratio: float | None = None
    labels_per_class: float | None = None


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """What to do, and why.

    Attributes:
        way: `"freeze"`, `"top"`, `"fine-tune"` or `"few-shot"`.
        transfer: the same as the package calls it, e.g. `"top-2"`.
        epochs: to train.
        learning_rate: peak rate.
        expected: accuracy to expect of each way with all the labels; empty if nothing was measured.
        without_encoder: word counts are expected to do as well.
        pretrain_first: further pre-training on texts of this kind is worth a try.
        other_encoder: this one's vocabulary does not know the texts.
        reasons: plain sentences.
    """

    way: str
    transfer: str
    epochs: int
    learning_rate: float
    expected: dict[str, float]
    without_encoder: bool
    pretrain_first: bool
    other_encoder: bool
    reasons: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The recommendation in one line."""
        settings = f"{self.transfer}, {self.epochs} epochs, peak learning rate {self.learning_rate:g}"
        if self.way == FEW_SHOT:
            settings = self.transfer
        if self.without_encoder:
            return f"No encoder: word counts will do. If you want it all the same: {settings}."
        if self.other_encoder:
            return f"Another encoder. If it must be this one: {settings}."
        return f"Pre-train further, if you have the texts, then {settings}." if self.pretrain_first else f"{settings}."


def recommend(
    evidence: Evidence, measured: Mapping[str, Mapping[int, Mapping[str, float]]] | None = None
) -> Recommendation:
    """Apply the rules.

    Args:
        evidence: what was found out.
        measured: in place of `ERRORS_REMOVED`, to check the rules.

    Example:
        >>> recommend(Evidence(labels=5000, pairs=False, blocks=4, width=256, frozen=0.80, words=0.78)).transfer
        'fine-tune'
    """
    gains = errors_removed(evidence.labels, evidence.pairs, measured)
    ways = [way for way in WAYS if way != TOP or evidence.blocks > 1]
    # Without a measured curve the errors of a frozen encoder are taken as one in four: only the order of the ways counts then.
    frozen = 0.75 if evidence.frozen is None else evidence.frozen
    expected = {way: frozen + gains[way] * (1.0 - frozen) for way in ways}
    best = max(expected.values())
    way = next(way for way in ways if expected[way] >= best - TIE)
    # An average: one rare class does not make few of thousands of labels.
    few = not evidence.pairs and evidence.labels_per_class is not None
    few = few and few_labels(evidence.labels, round(evidence.labels / evidence.labels_per_class))
    unknown = (evidence.unknown_words or 0.0) > TOO_MANY_UNKNOWN
    strange = not unknown and (evidence.perplexity_ratio or 0.0) > STRANGE
    without = evidence.frozen is not None and evidence.words is not None and evidence.words >= expected[way] - TIE
    reasons = [*_why_this_way(evidence, way, expected), *_why_else(evidence, unknown, strange, without, expected[way])]
    if few:
        reasons.insert(
            0,
            f"With {evidence.labels_per_class:.0f} label(s) a class few-shot learning is ahead of fine-tuning. Take an encoder made for sentences; "
            "describing the classes (--describe) and texts without labels (--unlabelled) help too.",
        )
    return Recommendation(
        way=FEW_SHOT if few else way,
        transfer=FEW_SHOT if few else transfer_name(way, evidence.blocks),
        epochs=epochs_for(evidence.labels, way),
        learning_rate=learning_rate_for(evidence.width, way, evidence.suggested_learning_rate),
        expected={} if evidence.frozen is None else expected,
        without_encoder=without,
        pretrain_first=strange,
        other_encoder=unknown,
        reasons=tuple(reasons),
    )


def few_labels(labels: int, classes: int) -> bool:
    """Whether these are so few labels that few-shot learning is expected to do better than what else there is.

    Example:
        >>> few_labels(128, 2), few_labels(128, 6), few_labels(96, 6)
        (True, False, True)
    """
    return labels <= classes * FEW_PER_CLASS["two classes" if classes == 2 else "more"]


def errors_removed(labels: int, pairs: bool, measured=None) -> dict[str, float]:
    """The fraction of a frozen encoder's errors that each way removes, between the measured numbers of labels in proportion to log n.

    Example:
        >>> table = {"single": {100: {"top": 0.0, "fine-tune": 0.0}, 10000: {"top": 0.1, "fine-tune": 0.3}}}
        >>> errors_removed(1000, False, table)
        {'freeze': 0.0, 'top': 0.05, 'fine-tune': 0.15}
    """
    table = (ERRORS_REMOVED if measured is None else measured)["pair" if pairs else "single"]
    points = sorted(table)
    lower = max((n for n in points if n <= labels), default=points[0])
    upper = min((n for n in points if n >= labels), default=points[-1])
    weight = 0.0 if lower == upper else math.log(max(labels, 1) / lower) / math.log(upper / lower)
    return {FREEZE: 0.0} | {w: table[lower][w] + weight * (table[upper][w] - table[lower][w]) for w in (TOP, FINE_TUNE)}


def transfer_name(way: str, blocks: int) -> str:
    """A way as `transfer=` takes it; the upper half of the blocks for `"top"`.

    Example:
        >>> transfer_name("top", 12), transfer_name("freeze", 12)
        ('top-6', 'freeze')
    """
    return f"top-{max(blocks // 2, 1)}" if way == TOP else way


def epochs_for(labels: int, way: str) -> int:
    """Epochs to train.

    Example:
        >>> [epochs_for(n, "fine-tune") for n in (50, 100, 1000, 5000, 20000)], epochs_for(1000, "freeze")
        ([15, 15, 6, 3, 2], 13)
    """
    if way == FREEZE:
        return default_epochs(labels, 32, FREEZE)
    return max(FEWEST_EPOCHS, min(round(MOST_EPOCHS * (labels / 100) ** -0.4), MOST_EPOCHS))


def learning_rate_for(width: int | None, way: str, suggested: float | None = None) -> float:
    """Peak learning rate; what the encoder's makers suggest for fine-tuning goes before all else.

    Example:
        >>> learning_rate_for(256, "fine-tune"), learning_rate_for(768, "top"), learning_rate_for(768, "freeze")
        (0.0005, 5e-05, 0.02)
    """
    if way != FREEZE and suggested is None and width is not None and width <= NARROW:
        return NARROW_LEARNING_RATE
    return default_learning_rate(width, way != FREEZE, suggested, new_linear=True)


def _why_this_way(evidence: Evidence, way: str, expected: Mapping[str, float]) -> list[str]:
    labels = f"{evidence.labels:,} different labelled {'pairs' if evidence.pairs else 'texts'}"
    if evidence.frozen is None:
        return [f"With {labels} there is no learning curve; this is what was best elsewhere with so many labels."]
    best = max(expected, key=expected.get)
    said = ", ".join(f"{_NAMES[name]} {accuracy:.1%}" for name, accuracy in expected.items())
    lines = [
        f"Accuracy to expect with {labels}: {said}. Measured is the frozen one; the others are better by as much as on other data."
    ]
    gain = 100 * (expected[way] - expected[FREEZE])
    if way == FREEZE:
        lines.append(
            "Letting the encoder learn is not expected to gain anything to speak of here, and takes longer."
            if best == FREEZE
            else f"Letting the encoder learn is expected to gain less than {TIE * 100:.1f} points, and takes longer."
        )
    else:
        why = ": a frozen encoder has never been asked to compare two texts" if evidence.pairs else ""
        lines.append(f"Letting the encoder learn is expected to gain {gain:.1f} points{why}.")
        if way != best:
            lines.append(f"Its upper half costs less and is expected within {TIE * 100:.1f} points of fine-tuning.")
    return lines


def _why_else(evidence: Evidence, unknown: bool, strange: bool, without: bool, expected: float) -> list[str]:
    lines = []
    if without:
        lines.append(
            f"You do not need the encoder: TF-IDF with logistic regression is expected to reach {evidence.words:.1%}, "
            f"{'more than' if evidence.words > expected + TIE else 'as much as'} the encoder ({expected:.1%}), in seconds."
        )
    if (
        evidence.frozen is not None
        and evidence.majority is not None
        and max(evidence.frozen, evidence.words or 0.0) < evidence.majority + 0.02
    ):
        lines.append(
            f"Nothing has been learned so far: always giving the most common label is right for {evidence.majority:.1%}. "
            "Are the labels to be told from these texts?"
        )
    if unknown:
        lines.append(
            f"The vocabulary does not know {evidence.unknown_words:.1%} of the words, and no training mends that: take an encoder made "
            "for this language and script (tl-keras encoders)."
        )
    if strange:
        lines.append(
            f"The encoder finds these texts {evidence.perplexity_ratio:.1f} times as surprising, by the character, as plain prose. If you have "
            f"{PRETRAIN_CHARACTERS / 1e6:.0f} million characters or more of them without labels, pre-train it further on those first."
        )
    return lines


_NAMES = {FREEZE: "frozen", TOP: "upper half learning", FINE_TUNE: "fine-tuned"}
