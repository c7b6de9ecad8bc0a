"""Texts with labelled spans: what tagging readers return, whatever the file looked like."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tl_keras.data.examples import check_split, draw, row_numbers
from tl_keras.data.given import check_texts, string_array
from tl_keras.data.spans import Span, spans_of_entities
from tl_keras.data.tags import Scheme, find_scheme, refuse_strange_plain_tags, spans_of_tags, with_prefixes
from tl_keras.errors import UserError

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TagSet:
    """What a tagger predicts, and for what.

    Args:
        labels: the names of the kinds of spans, e.g. `("LOC", "PER")`.
        scheme: `"bio"`: spans run over several words; `"plain"`: each word has a label of its own, as in part-of-speech tagging.
        tokens: `"first"`: the first token of each word carries the word's tag, the others are masked, and predictions are whole words.
            A word ends at white space and at punctuation, and each mark is a word: so a span ends before the full stop, also where the
            training file had it stand apart. `"all"`: every token carries a tag, so that a span may end inside a word, as before a
            Korean particle.

    Raises:
        UserError: no labels, a label twice, or an option that is not known.

    Example:
        >>> TagSet(("LOC", "PER")).tags
        ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
    """

    labels: tuple[str, ...]
    scheme: Literal["bio", "plain"] = "bio"
    tokens: Literal["first", "all"] = "first"

    def __post_init__(self):
        if isinstance(self.labels, str) or not len(self.labels):
            raise UserError('labels must be a list of the names of the spans, e.g. ["LOC", "PER"], not empty.')
        object.__setattr__(self, "labels", tuple(str(name) for name in self.labels))
        if len(set(self.labels)) != len(self.labels):
            raise UserError(f"a label occurs twice: {list(self.labels)}.")
        for name, known in (("scheme", ("bio", "plain")), ("tokens", ("first", "all"))):
            if getattr(self, name) not in known:
                raise UserError(f"{name}={getattr(self, name)!r} is not known; choose one of: {', '.join(known)}.")
        if self.scheme == "plain" and self.tokens == "all":
            raise UserError('plain tags belong to words, so only the first token carries them: tokens="first".')

    @property
    def tags(self) -> tuple[str, ...]:
        """The classes of the model's softmax: `O` first, then `B-` and `I-` of each label, or the labels themselves."""
        if self.scheme == "plain":
            return ("O", *self.labels)
        return ("O", *(prefix + name for name in self.labels for prefix in ("B-", "I-")))


@dataclasses.dataclass(frozen=True)
class TaggedExamples:
    """Texts, the labelled spans in each, and the words where the file had words.

    Args:
        texts: object array `[n]` of `str`.
        spans: for each text its `Span`s in order, without overlap; None for texts to be tagged.
        labels: all label names, in order.
        words: for each text `(start, end)` of its words, where the data come in words: then scores count words.
        scheme: `"bio"` or `"plain"`; see `TagSet`.
        source: where the texts came from, for messages.
        rows: int64 array `[n]`: of a part, which texts of the whole they are, from 0; None for the whole.

    Example:
        >>> examples = TaggedExamples.from_words([["Ada", "lives", "in", "New", "York"]], [["B-PER", "O", "O", "B-LOC", "I-LOC"]])
        >>> examples.texts[0], examples.spans[0]
        ('Ada lives in New York', (Span(start=0, end=3, label='PER'), Span(start=13, end=21, label='LOC')))
    """

    texts: np.ndarray
    spans: tuple[tuple[Span, ...], ...] | None
    labels: tuple[str, ...]
    words: tuple[tuple[tuple[int, int], ...], ...] | None = None
    scheme: Literal["bio", "plain"] = "bio"
    source: str = "the given texts"
    rows: np.ndarray | None = dataclasses.field(default=None, kw_only=True)

    @classmethod
    def from_words(
        cls,
        words: Sequence[Sequence[str]],
        tags: Sequence[Sequence[str]],
        *,
        labels: Sequence[str] | None = None,
        scheme: Scheme = "auto",
        joiner: str = " ",
        source: str = "the given texts",
    ) -> TaggedExamples:
        """Make examples from texts given as lists of words, each with a tag.

        Args:
            words: `n` lists of words.
            tags: `n` lists of tags: BIO, BIOES (or BILOU), or plain ones. A span that begins with `I-` is counted, reported in a
                warning, and taken as beginning there.
            labels: all label names in the order wanted; by default those that occur, sorted.
            scheme: `"bio"`, `"bioes"`, `"plain"`, or `"auto"`: by the look of the tags.
            joiner: what stands between words in the text.
            source: a name for messages.

        Raises:
            UserError: lengths differ, a tag does not fit the scheme, or a label is not among `labels`.
        """
        if len(words) != len(tags):
            raise UserError(f"{source}: {len(words)} lists of words but {len(tags)} lists of tags.")
        for row, (row_words, row_tags) in enumerate(zip(words, tags, strict=True)):
            if isinstance(row_words, str) or len(row_words) != len(row_tags):
                raise UserError(
                    f"{source}, example {row + 1}: {len(row_words)} words but {len(row_tags)} tags; each word needs one."
                )
            for what, parts in (("word", row_words), ("tag", row_tags)):
                odd = next((part for part in parts if not isinstance(part, str)), None)
                if odd is not None or None in list(parts):
                    raise UserError(
                        f"{source}, example {row + 1}: a {what} is {odd!r}, not a string"
                        + (
                            "; numbers of tags become names by read_tagged(dataset), or [names[i] for i in tags]."
                            if what == "tag"
                            else "."
                        )
                    )
        places = [[f"example {row + 1}, word {i + 1}" for i in range(len(line))] for row, line in enumerate(words)]
        return cls._from_units(words, tags, places, labels, scheme, joiner, source, keep_words=True)

    @classmethod
    def from_spans(
        cls,
        texts: Sequence[str],
        entities: Sequence[Sequence] | None = None,
        *,
        labels: Sequence[str] | None = None,
        overlaps: Literal["error", "longest"] = "error",
        source: str = "the given texts",
        places: Sequence[str] | None = None,
    ) -> TaggedExamples:
        """Make examples from texts with character spans.

        White space at the ends of a span is taken off, with a warning.

        Args:
            texts: `n` strings.
            entities: for each text its entities: `{"start", "end", "label"}` or `(start, end, label)`, in characters; a dict may
                hold the entity's `"text"`, which is then checked. None for texts to be tagged.
            labels: all label names in the order wanted.
            overlaps: what to do with entities that overlap: an error, or keep the longest.
            source: a name for messages.
            places: a name for each example in messages.

        Raises:
            UserError: a span is outside its text or empty, does not hold the text it should, overlaps another, or its label is
                not among `labels`.
        """
        check_texts(texts)
        array = string_array(texts, "texts", source, places)
        if entities is None:
            return cls(array, None, tuple(labels or ()), source=source)
        if len(array) != len(entities):
            raise UserError(f"{source}: {len(array)} texts but {len(entities)} lists of entities.")
        places = places or [f"example {row + 1}" for row in range(len(array))]
        all_spans, trimmed = [], 0
        for text, found, place in zip(array, entities, places, strict=True):
            spans, short = spans_of_entities(text, found, overlaps, f"{source}, {place}")
            all_spans.append(spans)
            trimmed += short
        if trimmed:
            logger.warning("%s: white space at the ends of %d entities taken off.", source, trimmed)
        names = _label_names(all_spans, labels, source, places)
        return cls(array, tuple(all_spans), names, source=source)

    @classmethod
    def _from_units(cls, units, tags, places, labels, scheme, joiner, source, keep_words) -> TaggedExamples:
        """From words or characters with tags; `places` names each one in messages."""
        if scheme != "plain":
            tags = with_prefixes(tags, places, source)
        kind = find_scheme(tags, places, scheme, source)
        if kind == "plain" and scheme != "plain" and labels is None:
            refuse_strange_plain_tags(units, tags, places, source)
        texts, all_words, all_spans, broken = [], [], [], []
        for row_units, row_tags, row_places in zip(units, tags, places, strict=True):
            ends = np.cumsum([len(unit) + len(joiner) for unit in row_units]) - len(joiner) if len(row_units) else []
            bounds = [(int(end) - len(unit), int(end)) for unit, end in zip(row_units, ends, strict=True)]
            spans, wrong = spans_of_tags(row_tags, kind)
            broken += [(row_places[i], row_tags[i]) for i in wrong]
            texts.append(joiner.join(row_units))
            all_words.append(tuple(bounds))
            all_spans.append(tuple(Span(bounds[a][0], bounds[b - 1][1], label) for a, b, label in spans))
        if broken:
            shown = ", ".join(f"{tag} at {place}" for place, tag in broken[:5])
            logger.warning(
                "%s: %d tag(s) do not follow from the one before (%s%s); a span is taken to begin there.",
                source, len(broken), shown, ", ..." if len(broken) > 5 else "",
            )  # fmt: skip
        names = _label_names(all_spans, labels, source, [row[0] if row else "an empty text" for row in places])
        return cls(
            string_array(texts, "texts", source, [row[0] if row else "an empty text" for row in places]),
            tuple(all_spans),
            names,
            tuple(all_words) if keep_words else None,
            "plain" if kind == "plain" else "bio",
            source,
        )

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def tag_set(self) -> TagSet:
        """What a tagger for these data predicts: words where the data come in words, else tokens."""
        return TagSet(self.labels, self.scheme, "first" if self.words is not None else "all")

    def counts(self) -> dict[str, int]:
        """How many spans each label has."""
        found = [span.label for spans in self.spans or () for span in spans]
        return {name: found.count(name) for name in self.labels}

    def take(self, rows: np.ndarray) -> TaggedExamples:
        """The examples at the given row numbers, in that order."""
        return dataclasses.replace(
            self,
            texts=self.texts[rows],
            spans=None if self.spans is None else tuple(self.spans[row] for row in rows),
            words=None if self.words is None else tuple(self.words[row] for row in rows),
            rows=row_numbers(self)[rows],
        )

    def sample(self, size: int, seed: int = 0) -> TaggedExamples:
        """At most `size` examples, drawn with the seed."""
        return draw(self, size, seed)

    def split(self, validation: float = 0.1, seed: int = 0) -> tuple[TaggedExamples, TaggedExamples]:
        """Split at random into training and validation examples.

        Args:
            validation: the fraction, between 0 and 1, of the examples that go into the second part.
            seed: which split.

        Raises:
            UserError: a fraction outside (0, 1), or too few examples to give each part one.
        """
        check_split(validation, seed)
        if len(self) < 2:
            raise UserError(f"{self.source} holds {len(self)} example(s): too few to split.")
        held = min(max(int(np.floor(len(self) * validation + 0.5)), 1), len(self) - 1)
        order = np.random.default_rng(seed).permutation(len(self))
        return self.take(np.sort(order[held:])), self.take(np.sort(order[:held]))


def _label_names(all_spans, labels, source: str, places: Sequence[str]) -> tuple[str, ...]:
    found = {span.label for spans in all_spans for span in spans}
    if labels is None:
        return tuple(sorted(found))
    names = tuple(str(name) for name in labels)
    for spans, place in zip(all_spans, places, strict=True):
        for span in spans:
            if span.label not in names:
                raise UserError(
                    f"{source}: the label {span.label!r} ({place}) is not among {list(names)[:20]}. Training never saw it: add "
                    "examples of it to the training data, or take it out."
                )
    return names
