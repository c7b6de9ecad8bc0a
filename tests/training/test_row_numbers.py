"""A loss that is no number, in every task: the rows that the error names are those of the batch, by their place in the file."""

from __future__ import annotations

import itertools
import json
import os

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.errors import NotFiniteError
from tl_keras.tasks import run as run_module
from tl_keras.training.guards import StopWhenNotFinite

ROWS = 26
NAMES = [f"q{chr(97 + row)}" for row in range(ROWS)]
"""A word of two tokens for each row, by which it is known again in a batch."""


@pytest.fixture
def data(tmp_path):
    """Files of all forms; each text, each question's context holds the word of its row, some so often that they need several windows."""
    texts = [" ".join([name] * (30 if row % 5 == 0 else 3)) + " film" for row, name in enumerate(NAMES)]
    spans = [{"start": len(text) - 4, "end": len(text), "label": "THING"} for text in texts]
    lines = [json.dumps({"text": text, "entities": [span]}) for text, span in zip(texts, spans, strict=True)]
    (tmp_path / "tags.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    documents = []
    for row, text in enumerate(texts):
        # An answer that does not stand where it is said to: nothing to learn from, so it is in no batch.
        answer = {"text": "film", "answer_start": 0 if row == 3 else len(text) - 4}
        qas = [{"id": str(row), "question": "what ?", "answers": [answer]}]
        documents.append({"title": str(row), "paragraphs": [{"context": text, "qas": qas}]})
    (tmp_path / "answers.json").write_text(json.dumps({"version": "1.1", "data": documents}), "utf-8")
    # The second row is empty and falls out; those behind it keep their numbers.
    cells = ["" if row == 1 else name for row, name in enumerate(NAMES)]
    pairs = [f"{text},the film {row // 2},{row % 6}" for row, text in enumerate(cells)]
    (tmp_path / "pairs.csv").write_text("\n".join(["text,other,score", *pairs]) + "\n", "utf-8")
    return tmp_path


def rows_in(inputs, vocabulary) -> list[int]:
    """Which rows a batch holds, by the word that it finds in each text."""
    ids = next(inputs[name].numpy() for name in ("input_word_ids", "query_input_word_ids") if name in inputs)
    letters = {vocabulary.index(f"##{name[1]}"): row for row, name in enumerate(NAMES)}
    first = vocabulary.index("q")
    found = [next(letters[b] for a, b in itertools.pairwise(row) if a == first) for row in ids.tolist()]
    return list(dict.fromkeys(found))


PAIRS = ("--text", "text", "--text-pair", "other")


@pytest.mark.parametrize(
    ("task", "file", "options"),
    [
        ("token-classification", "tags.jsonl", ()),
        ("question-answering", "answers.json", ()),
        pytest.param(
            "sentence-similarity",
            "pairs.csv",
            (*PAIRS, "--label", "score", "--architecture", "bi-encoder"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "sentence-similarity",
            "pairs.csv",
            (*PAIRS, "--label", "score", "--architecture", "cross-encoder"),
            marks=pytest.mark.slow,
        ),
        ("retrieval", "pairs.csv", PAIRS),
    ],
)
def test_the_rows_of_a_batch(call, data, tiny_pair, vocabulary, monkeypatch, task, file, options):
    """`fit` is told how to find them; which rows are in its batches is read off the batches."""
    seen = {}
    # The finder makes the batches anew for each answer.
    asked = None if os.environ.get("TL_KERAS_SLOW") else {(1, 2)}

    def look(model, batches, *, rows, source, **others):
        for epoch in range(2):
            seen[epoch] = [rows_in(inputs, vocabulary) for inputs, _ in batches]
            for step, wanted in enumerate(seen[epoch]):
                if asked is None or (epoch, step) in asked:
                    assert rows(epoch, step) == wanted
        seen["source"] = source
        raise UserError("seen")

    monkeypatch.setattr(run_module, "resumable_fit", look)
    code, _, err = call(
        "train", task, "--train", data / file, "--out", data / "run", "--encoder", tiny_pair, "--seq-length", 32,
        "--batch-size", 4, "--validation-split", 0.25, *options,
    )  # fmt: skip
    assert (code, "seen" in err) == (2, True), err
    assert seen["source"] == str(data / file)
    assert len(seen[1]) > 3
    assert seen[0] != seen[1]
    # Some rows are kept for validation, and yet the numbers go to the file's end.
    trained = set(itertools.chain(*seen[0]))
    assert (max(trained) > 20, len(trained) < 22) == (True, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "file"), [("token-classification", "tags.jsonl"), ("question-answering", "answers.json")]
)
def test_the_error_names_them(call, data, tiny_pair, monkeypatch, task, file):
    look = StopWhenNotFinite.on_train_batch_end
    found = []

    def spoil(self, batch, logs=None):
        if (self._epoch, batch) == (0, 1):
            found.append(self.rows(0, 1))
            logs = {"loss": np.nan}
        look(self, batch, logs)

    monkeypatch.setattr(StopWhenNotFinite, "on_train_batch_end", spoil)
    code, _, err = call(
        "train", task, "--train", data / file, "--out", data / "run", "--encoder", tiny_pair, "--seq-length", 32,
        "--batch-size", 4, "--transfer", "freeze", "--resume", "--checkpoint-every", 1,
    )  # fmt: skip
    assert code == 2
    listed = ", ".join(map(str, found[0]))
    assert (
        f"the loss is nan at step 2 of epoch 1. Its batch holds the rows {listed} of {data / file} (counted from 0)"
        in err
    )
    assert "The last good checkpoint is" in err
    assert "epoch-0000-step-0000001" in err
    assert not (data / "run").exists()


@pytest.mark.one_keras
def test_where_several_steps_are_one_call_all_their_rows_are_named():
    stop = StopWhenNotFinite(rows=lambda epoch, step: [10 * step, 10 * step + 1])
    stop.on_epoch_begin(1)
    stop.on_train_batch_end(1, {"loss": 0.5})  # steps 1 and 2
    with pytest.raises(
        NotFiniteError, match=r"nan at one of the steps 3 to 5 of epoch 2\. .* the rows 20, 21, 30, 31, 40, 41 of "
    ):
        stop.on_train_batch_end(4, {"loss": float("nan")})
    stop.on_epoch_begin(2)
    with pytest.raises(NotFiniteError, match=r"inf at step 1 of epoch 3\. .* the rows 0, 1 of "):
        stop.on_train_batch_end(0, {"loss": float("inf")})
