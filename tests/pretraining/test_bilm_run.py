"""The whole command: from text to a module like elmo/3, cut short and resumed, started from vectors, and refused."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tensorflow_text")
pytest.importorskip("tokenizers")

from tl_keras.cli.pretrain import app  # noqa: E402
from tl_keras.errors import UserError  # noqa: E402
from tl_keras.pretraining.bilm.bilm import BilmPretraining  # noqa: E402
from tl_keras.pretraining.settings import BilmSettings  # noqa: E402

pytestmark = pytest.mark.one_keras

SMALL = {
    "width": 8, "filters": ((1, 4), (3, 8)), "char_width": 4, "max_chars": 16, "max_length": 8, "batch_tokens": 96,
    "heldout_fraction": 0.1, "samples": 12, "warmup_steps": 2, "peak_learning_rate": 0.02, "history_steps": 4, "heldout_steps": 4,
    "checkpoint_steps": 3,
}  # fmt: skip
OPTIONS = {**SMALL, "filters": "1:4,3:8", "learning_rate": 0.02}
del OPTIONS["peak_learning_rate"]


def bilm(*arguments) -> None:
    """Run the command in this process, as `tl-keras pretrain bilm` does."""
    app(["bilm", *map(str, arguments)], standalone_mode=False)


@pytest.fixture(scope="module")
def run(corpus_files, tmp_path_factory):
    """A finished run of 12 steps on the command line."""
    folder = tmp_path_factory.mktemp("bilm") / "tiny"
    options = [part for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", value)]
    corpora = [part for path in corpus_files for part in ("--corpus", path)]
    bilm("--out", folder, *corpora, "--licence", "CC0", "--licence", "CC BY", "--steps", 12, *options)
    return folder


def history(folder):
    with (folder / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_what_a_run_leaves(run, corpus_files):
    rows = history(run)
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    for direction in ("forward", "backward"):
        assert float(rows[-1][f"{direction}_loss"]) < float(rows[0][f"{direction}_loss"])
        loss = float(rows[1][f"heldout_{direction}_loss"])
        assert float(rows[1][f"heldout_{direction}_perplexity"]) == pytest.approx(math.exp(loss), rel=1e-3)
    assert float(rows[-1]["heldout_forward_loss"]) < float(rows[0]["heldout_forward_loss"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["heldout"]["forward_perplexity"] == pytest.approx(
        float(rows[-1]["heldout_forward_perplexity"]), rel=1e-3
    )
    assert metrics["tokens_per_second"] > 0
    readme = (run / "README.md").read_text("utf-8")
    assert "| reviews.txt | 120 | independent lines | CC0 |" in readme
    assert f"{metrics['heldout']['backward_perplexity']:,.1f}" in readme
    assert "sampled softmax, 12 words a batch" in readme
    assert str(run.parent) not in readme, "a machine's folders do not belong into a README"
    assert (run / "plots" / "loss.png").stat().st_size > 5000
    config = json.loads((run / "config.json").read_text())
    assert config["kind"] == "bilm"
    words = (run / "assets.extra" / "words.txt").read_text("utf-8").split("\n")[:-1]
    assert len(words) == config["vocabulary_size"]
    assert words[:3] == ["<S>", "</S>", "<UNK>"]
    counts = Counter(" ".join(path.read_text("utf-8") for path in corpus_files).replace(".", " . ").split())
    frequencies = [counts[word] for word in words[3:]]
    assert frequencies == sorted(counts.values(), reverse=True), "all words, frequent ones first"


def test_stopped_and_resumed_it_ends_where_an_uninterrupted_run_does(run, corpus_files, tmp_path):
    settings = BilmSettings(out=str(tmp_path / "o"), corpus=tuple(map(str, corpus_files)), steps=12, **SMALL)
    cut = BilmPretraining(settings)
    cut.trainer.on_report = lambda report: setattr(cut.trainer, "stop_requested", report.step == 6)
    assert not cut.run()
    assert not (tmp_path / "o" / "metrics.json").exists()
    with pytest.raises(UserError, match="holds a run already"):
        BilmPretraining(settings)
    again = BilmPretraining(BilmSettings.resumed(tmp_path / "o"), resume=True)
    assert again.trainer.step == 6
    assert again.run()
    for ours, expected in zip(history(tmp_path / "o"), history(run), strict=True):
        for name in ("step", "epoch", "tokens", "learning_rate"):
            assert ours[name] == expected[name]
        for name in expected:
            if name.endswith("loss"):
                assert float(ours[name]) == pytest.approx(float(expected[name]), abs=1e-3), (name, ours, expected)
    with np.load(run / "checkpoint.npz") as ours, np.load(tmp_path / "o" / "checkpoint.npz") as other:
        assert set(ours) == set(other)
        for name in set(ours) - {"state", "sha256"}:
            np.testing.assert_allclose(ours[name], other[name], atol=1e-4)


def test_it_may_read_words_and_start_from_their_vectors(corpus_files, tmp_path):
    lines = ["영화 1 0 0 0 0 0 0 2", "film 0 3 0 0 0 0 0 0", "unseen 1 1 1 1 1 1 1 1"]
    (tmp_path / "v.txt").write_text("3 8\n" + "\n".join(lines) + "\n", encoding="utf-8")
    settings = {**SMALL, "tokens": "words", "vectors": str(tmp_path / "v.txt"), "steps": 1}
    files = tuple(map(str, corpus_files))
    model = BilmPretraining(BilmSettings(out=str(tmp_path / "o"), corpus=files, **settings))
    table = model.model.embeddings.numpy()
    film, story = (table[model.lexicon.predicted.index(word)] for word in ("film", "story"))
    assert film[1] > 0
    assert (np.delete(film, 1) == 0).all()
    assert (story != 0).all()
    with pytest.raises(UserError, match="vectors of width 8, but --width is 6; give --width 8"):
        BilmPretraining(BilmSettings(out=str(tmp_path / "p"), corpus=files, **{**settings, "width": 6}))


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (b"only one sentence here\n", {}, r"holds 1 line\(s\) of text; a corpus needs at least two sentences"),
        (b"\n\n  \n", {}, r"holds 0 line\(s\) of text"),
        (b"a film\n\x00\x01\x02\n", {}, "line 2: holds a zero byte, so this is no text file"),
        (b"a film\n\xff\xfe film\n", {}, "line 2: not UTF-8"),
        (b"a film\na story\n", {"vocab_size": 900}, "can fill a vocabulary of 4 words at most"),
        (b"every word\n\nis another\n", {}, "no word of the corpus occurs 2 times or more"),
    ],
)
def test_a_corpus_that_will_not_do(tmp_path, content, options, reason):
    (tmp_path / "c.txt").write_bytes(content)
    settings = BilmSettings(out=str(tmp_path / "o"), corpus=(str(tmp_path / "c.txt"),), steps=1, **SMALL, **options)
    with pytest.raises(UserError, match=reason) as error:
        BilmPretraining(settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "o").exists()


def test_a_call_that_will_not_do(tmp_path):
    with pytest.raises(UserError, match=r"holds no config\.json: there is no run to resume"):
        bilm("--out", tmp_path, "--resume")
    with pytest.raises(UserError, match="--resume takes --corpus, --width from the run"):
        bilm("--out", tmp_path, "--resume", "--corpus", "c.txt", "--steps", 9, "--width", 8)
    (tmp_path / "c.txt").write_text("a film\na film\n")
    with pytest.raises(UserError, match="either as --steps or as --minutes"):
        bilm("--out", tmp_path / "o", "--corpus", tmp_path / "c.txt")
    with pytest.raises(UserError, match="--tokens 'letters' is not known"):
        bilm("--out", tmp_path / "o", "--tokens", "letters")
