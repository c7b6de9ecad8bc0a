"""Pre-training a GPT: its tokenizer, what its rows predict, a run that is cut short, and what the run leaves."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras_hub")
pytest.importorskip("tokenizers")

from tl_keras.cli.pretrain import app
from tl_keras.errors import UserError
from tl_keras.pretraining.batches import Place
from tl_keras.pretraining.gpt import CausalBatches, GptPretraining
from tl_keras.pretraining.settings import GptSettings
from tl_keras.pretraining.token_files import TokenFile
from tl_keras.pretraining.vocabulary import learn_byte_pairs

pytestmark = pytest.mark.one_keras

SMALL = {
    "vocab_size": 290, "layers": 1, "width": 8, "max_length": 16, "batch_tokens": 96, "heldout_fraction": 0.1, "warmup_steps": 2,
    "peak_learning_rate": 0.02, "history_steps": 2, "heldout_steps": 2, "checkpoint_steps": 3,
}  # fmt: skip


def gpt(*arguments) -> None:
    """Run the command in this process, as `tl-keras pretrain gpt` does."""
    app(["gpt", *map(str, arguments)], standalone_mode=False)


def history(folder: Path) -> list[dict]:
    with (folder / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def run(corpus_files, tmp_path_factory):
    """A finished run of 6 steps on the command line, over lines and over documents."""
    folder = tmp_path_factory.mktemp("gpt") / "tiny"
    names = {"peak_learning_rate": "learning-rate"}
    options = [part for key, value in SMALL.items() for part in (f"--{names.get(key, key).replace('_', '-')}", value)]
    gpt("--out", folder, *(p for path in corpus_files for p in ("--corpus", path)), "--steps", 6, *options)
    return folder


def test_every_text_comes_back_and_padding_is_no_end():
    learned = learn_byte_pairs(["영화가 정말 좋아요", "good good films"], size=261)
    tokenizer = learned.keras_tokenizer()
    texts = ["영화 😀\n\tgood", "ÿ\u3000 x"]
    ids = learned.encode(texts)
    assert [list(row) for row in tokenizer(texts)] == ids, "KerasHub's tokenizer gives the same ids"
    assert [str(text) for text in tokenizer.detokenize(ids)] == texts
    assert len(learned.vocabulary) == 261
    assert learned.encode(["good"]) != [[*b"good"]]
    assert len(learned.encode(["good"])[0]) == 1, "a word seen twice is a token"
    # KerasHub pads with id 0 and looks for the end of text behind the prompt.
    assert tokenizer.pad_token_id != tokenizer.end_token_id == learned.end


def test_rows_predict_each_token_of_a_document_once():
    # Two documents: sentences (1 2 3)(4), and (5). End of text is 9, a newline 8.
    part = TokenFile(np.array([1, 2, 3, 4, 5]), np.array([0, 3, 4, 5]), np.array([0, 2, 3]), np.array([0, 2]))
    batches = CausalBatches(part, end=9, newline=8, token_budget=4)
    rows = batches.rows(np.array([0, 1]), max_length=4)
    batch = batches.realise(rows, [0])
    assert batch.lengths.tolist() == [4, 2, 2]
    pairs = [list(zip(*row, strict=True)) for row in zip(batch.token_ids, batch.targets, strict=True)]
    found = [pair for row, size in zip(pairs, batch.lengths, strict=True) for pair in row[:size]]
    assert found == [(9, 1), (1, 2), (2, 3), (3, 8), (8, 4), (4, 9), (9, 5), (5, 9)]
    plans = batches.window_plans(Place(max_length=4))
    assert sum(batches.realise(*plan, [0]).predictions for plan in plans) == 8


def test_what_a_run_leaves(run, corpus_files):
    rows = history(run)
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    assert float(rows[-1]["heldout_loss"]) < float(rows[0]["heldout_loss"]) < math.log(290) + 0.5
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["heldout"]["perplexity"] == pytest.approx(math.exp(metrics["heldout"]["loss"]), rel=1e-3)
    card = (run / "model_card.md").read_text("utf-8")
    assert f"Perplexity {metrics['heldout']['perplexity']:,.1f}" in card
    assert "| reviews.txt | 120 | independent lines | not stated |" in card
    assert str(run.parent) not in card, "a machine's folders do not belong into a card"
    assert (run / "plots" / "loss.png").stat().st_size > 5000

    import keras_hub

    loaded = keras_hub.models.CausalLM.from_preset(str(run / "preset"))
    with np.load(run / "checkpoint.npz") as kept:
        for index, variable in enumerate(loaded.backbone.variables):
            np.testing.assert_allclose(np.asarray(variable), kept[f"model_{index:04d}"], atol=1e-6)


def test_stopped_and_resumed_it_ends_where_an_uninterrupted_run_does(run, corpus_files, tmp_path):
    settings = GptSettings(out=str(tmp_path / "o"), corpus=tuple(map(str, corpus_files)), steps=6, **SMALL)
    cut = GptPretraining(settings)
    cut.trainer.on_report = lambda report: setattr(cut.trainer, "stop_requested", report.step == 3)
    assert not cut.run()
    again = GptPretraining(GptSettings.resumed(tmp_path / "o"), resume=True)
    assert again.trainer.step == 3
    assert again.run()
    with np.load(run / "checkpoint.npz") as ours, np.load(tmp_path / "o" / "checkpoint.npz") as other:
        assert set(ours) == set(other)
        for name in set(ours) - {"state", "sha256"}:
            np.testing.assert_allclose(ours[name], other[name], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"vocab_size": 200}, "leaves no room beside the 256 bytes"),
        ({"vocab_size": 5000}, r"can fill a vocabulary of \d+ tokens at most"),
        ({"width": 20, "heads": 3}, "--width 20 cannot be divided among 3 heads"),
        ({"batch_tokens": 8}, "less than one row of --max-length 16"),
        ({"steps": None}, "either as --steps or as --minutes"),
    ],
)
def test_a_call_that_will_not_do(corpus_files, tmp_path, options, reason):
    with pytest.raises(UserError, match=reason) as error:
        GptPretraining(
            GptSettings(out=str(tmp_path / "o"), corpus=(str(corpus_files[0]),), **{"steps": 1, **SMALL, **options})
        )
    assert "\n" not in str(error.value)
    assert not (tmp_path / "o").exists()
