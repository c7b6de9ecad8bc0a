"""Documents -> rows: which stretches of a token file stand together as sentence A and sentence B."""

from __future__ import annotations

import numpy as np

from tl_keras.pretraining.token_files import TokenFile

# The columns of a plan: sentence A is tokens[A0:A1], sentence B is tokens[B0:B1], which is empty in a row without pair.
A0, A1, B0, B1, NEXT = range(5)
NO_PAIR, IS_NEXT, NOT_NEXT = -1, 0, 1


def plan_rows(
    part: TokenFile,
    documents: np.ndarray,
    max_length: int,
    rng: np.random.Generator,
    short_fraction: float = 0.1,
) -> np.ndarray:
    """Lay out documents as rows of at most `max_length` tokens.

    A document of one sentence becomes a row of its own. A longer one is cut into stretches of about `max_length`
    tokens; each stretch is split after a random sentence, and in half of the rows the second half is exchanged for a
    stretch of another document of the same corpus file. The sentences that were exchanged away begin the next row.
    Another file's documents are no candidates, because with two languages the task would be to tell them apart.

    Source: `create_instances_from_document` in
    https://github.com/google-research/bert/blob/master/create_pretraining_data.py.

    Args:
        part: The token file.
        documents: Numbers of the documents to lay out.
        max_length: Tokens in a row, `[CLS]` and `[SEP]` included.
        rng: Where chance comes from.
        short_fraction: Fraction of the stretches that get a random shorter length, as published.

    Returns:
        int64 `[rows, 5]`: begin and end of A, begin and end of B in `part.tokens`, and 0 (B follows A), 1 (it does
        not) or -1 (no pair).
    """
    documents = np.asarray(documents, np.int64)
    first, last = part.documents[documents], part.documents[documents + 1]
    single = last - first == 1
    begin = part.sentences[first[single]]
    end = np.minimum(part.sentences[last[single]], begin + max_length - 2)
    alone = np.stack([begin, end, end, end, np.full_like(begin, NO_PAIR)], axis=1)
    rows = [alone]
    longer = documents[~single]
    file_of = np.searchsorted(part.files, longer, side="right")
    for number in np.unique(file_of):
        group = longer[file_of == number]
        for document in group:
            rows.append(_plan_document(part, document, group, max_length, rng, short_fraction))
    return np.concatenate(rows).astype(np.int64)


def _plan_document(part, document, candidates, max_length, rng, short_fraction) -> np.ndarray:
    room = max_length - 3
    bounds = np.asarray(part.sentences[part.documents[document] : part.documents[document + 1] + 1])
    count, start, rows = len(bounds) - 1, 0, []
    while start < count:
        target = int(rng.integers(2, room + 1)) if rng.random() < short_fraction else room
        stop = start + 1
        while stop < count and bounds[stop] - bounds[start] < target:
            stop += 1
        split = int(rng.integers(start + 1, stop)) if stop - start > 1 else stop
        a = (int(bounds[start]), int(bounds[split]))
        others = len(candidates) > 1
        if split == stop or (others and rng.random() < 0.5):
            if not others:
                # A lone last sentence and nothing to pair it with: masked words only.
                rows.append((a[0], min(a[1], a[0] + max_length - 2), a[1], a[1], NO_PAIR))
                break
            b, label = _random_stretch(part, document, candidates, target - (a[1] - a[0]), rng), NOT_NEXT
            start = split
        else:
            b, label = (int(bounds[split]), int(bounds[stop])), IS_NEXT
            start = stop
        rows.append((*_truncate(a, b, room, rng), label))
    return np.asarray(rows, np.int64).reshape(-1, 5)


def _random_stretch(part, document, candidates, target, rng) -> tuple[int, int]:
    """Sentences of another document from a random one on, until `target` tokens are reached."""
    other = document
    while other == document:
        other = candidates[rng.integers(len(candidates))]
    first, last = int(part.documents[other]), int(part.documents[other + 1])
    begin = int(rng.integers(first, last))
    start = int(part.sentences[begin])
    end = int(np.searchsorted(part.sentences[begin + 1 : last + 1], start + max(target, 1))) + begin + 1
    return start, int(part.sentences[min(end, last)])


def _truncate(a: tuple[int, int], b: tuple[int, int], room: int, rng) -> tuple[int, int, int, int]:
    """Shorten the longer of the two, at the front or the back by chance, until both fit; what is cut is lost."""
    (a0, a1), (b0, b1) = a, b
    while (excess := (a1 - a0) + (b1 - b0) - room) > 0:
        longer_a = a1 - a0 > b1 - b0
        # Down to the other's length at once, and from there half each: the same lengths as cutting token by token.
        difference = abs((a1 - a0) - (b1 - b0))
        cut = min(excess, difference) if difference else (excess + 1) // 2
        front = int(rng.binomial(cut, 0.5))
        if longer_a:
            a0, a1 = a0 + front, a1 - (cut - front)
        else:
            b0, b1 = b0 + front, b1 - (cut - front)
    return a0, a1, b0, b1
