"""The whole command: from text to an encoder pair, cut short and resumed, continued from a pair, and refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("keras_hub")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("tensorflow_text")

from tl_keras.cli.pretrain import app  # noqa: E402
from tl_keras.errors import UserError  # noqa: E402
from tl_keras.pretraining.bert import BertPretraining  # noqa: E402
from tl_keras.pretraining.model import as_arrays  # noqa: E402
from tl_keras.pretraining.pretrain import pretrain  # noqa: E402
from tl_keras.pretraining.settings import BertSettings  # noqa: E402

pytestmark = pytest.mark.one_keras

SMALL = {
    "vocab_size": 90, "alphabet_size": 60, "layers": 1, "width": 16, "heads": 2, "max_positions": 48, "batch_tokens": 256,
    "lengths": ((0.5, 24), (1.0, 48)), "warmup_steps": 2, "history_steps": 4, "heldout_steps": 8, "checkpoint_steps": 2,
    "heldout_fraction": 0.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(corpus_files, tmp_path_factory):
    """A finished run of 12 steps, as (pretraining, folder)."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    pretraining = BertPretraining(
        BertSettings(
            out=str(folder), corpus=tuple(map(str, corpus_files)), licences=("CC0", "CC BY"), steps=12,
            init_embeddings=str(_vectors(tmp_path_factory.mktemp("v") / "v.npy")), **SMALL
        )
    )  # fmt: skip
    assert pretraining.run()
    pretraining.export()
    return pretraining, folder


def _vectors(path):
    np.save(path, np.random.default_rng(0).normal(size=(90, 16)))
    return path


def history(folder):
    with (folder / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_the_folder_is_an_encoder_pair_with_both_heads(run):
    pretraining, folder = run
    encoder, preprocess = (tf.saved_model.load(str(folder / part)) for part in ("encoder", "preprocess"))
    texts = ["영화 정말 good", "the film"]
    ids = preprocess.tokenize(tf.constant(texts)).merge_dims(1, 2).to_list()
    assert ids == pretraining.tokenizer.encode(texts)
    packed = preprocess.bert_pack_inputs([preprocess.tokenize(tf.constant(texts))], tf.constant(12))
    positions = np.asarray([[1, 2], [2, 1]], np.int32)
    outputs = encoder.mlm({**packed, "masked_lm_positions": tf.constant(positions)}, training=False)
    ours = pretraining.model(
        {
            "token_ids": packed["input_word_ids"].numpy(),
            "segment_ids": packed["input_type_ids"].numpy(),
            "padding_mask": packed["input_mask"].numpy(),
            "masked_positions": np.add(positions, [[0], [12]]).ravel(),
        }
    )
    assert outputs["mlm_logits"].numpy().reshape(4, -1) == pytest.approx(np.asarray(ours["mlm"]), abs=1e-4)
    with np.load(folder / "nsp_head.npz") as head:
        nsp = outputs["pooled_output"].numpy() @ head["kernel"] + head["bias"]
    assert nsp == pytest.approx(np.asarray(ours["nsp"]), abs=1e-4)


def test_what_a_run_leaves(run):
    _, folder = run
    rows = history(folder)
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    assert float(rows[-1]["mlm_loss"]) < float(rows[0]["mlm_loss"])
    assert rows[0]["heldout_mlm_loss"] == ""
    assert float(rows[1]["heldout_mlm_loss"]) > 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["heldout"]) == {"mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"}
    share = metrics["training_gflop_per_second"] / metrics["matmul_gflop_per_second"]
    assert metrics["fraction_of_matmul_rate"] == pytest.approx(share, abs=0.02)
    card = (folder / "model_card.md").read_text("utf-8")
    assert "| reviews.txt | 120 | independent lines | CC0 |" in card
    assert "| stories.txt |" in card
    assert "| 30 | CC BY |" in card
    assert f"{metrics['heldout']['mlm_accuracy']:.4f}" in card
    assert str(folder.parent) not in card, "a machine's folders do not belong into a model card"
    assert (folder / "plots" / "loss.png").stat().st_size > 5000


def test_token_files_are_reused_and_serve_without_the_corpus(run, monkeypatch, tmp_path):
    _, folder = run
    before = (folder / "tokens" / "train.tokens").stat().st_mtime_ns
    settings = BertSettings.resumed(folder)
    assert settings.lengths == SMALL["lengths"]
    metrics = (folder / "metrics.json").read_bytes()
    assert BertPretraining(settings, resume=True).run(), "resuming a finished run, to export it, trains no more"
    assert (folder / "metrics.json").read_bytes() == metrics
    assert (folder / "tokens" / "train.tokens").stat().st_mtime_ns == before
    alone = BertSettings(out=str(tmp_path / "o"), tokens=str(folder / "tokens"), steps=1, **SMALL)
    assert BertPretraining(alone).tokens.meta == BertPretraining(settings, resume=True).tokens.meta


def test_init_goes_on_where_the_pair_stopped(run, corpus_files, tmp_path):
    """Rebuilt from its SavedModel, the encoder has the loss it ended with, on the same held-out documents; what suited it is kept."""
    pretraining, folder = run
    facts = json.loads((folder / "info.json").read_text())
    assert facts["suggested"] == {"pooling": "mean"}
    (folder / "info.json").write_text(json.dumps({**facts, "suggested": {"pooling": "max", "whiten": True}}))
    settings = BertSettings(
        out=str(tmp_path / "o"), corpus=tuple(map(str, corpus_files)), init=str(folder), steps=2, **SMALL
    )
    again = BertPretraining(settings)
    before, after = pretraining.trainer.measure_heldout(), again.trainer.measure_heldout()
    assert after == pytest.approx(before, abs=1e-4)
    assert again.run()
    BertPretraining(BertSettings.resumed(tmp_path / "o"), resume=True).export()
    facts = json.loads((tmp_path / "o" / "info.json").read_text())
    assert (facts["continued_from"], facts["suggested"]) == (folder.name, {"pooling": "max", "whiten": True})
    (tmp_path / "v.txt").write_text("\n".join([*pretraining.tokenizer.vocabulary[:-1], "other"]))
    settings = dataclasses.replace(settings, out=str(tmp_path / "p"), vocab=str(tmp_path / "v.txt"))
    with pytest.raises(UserError, match="has a vocabulary of its own"):
        BertPretraining(settings)


def test_init_from_a_pair_without_heads_makes_and_ties_them(tiny_pair, corpus_files, tmp_path, caplog):
    settings = BertSettings(
        out=str(tmp_path / "o"), corpus=tuple(map(str, corpus_files)), init=str(tiny_pair), steps=2, **SMALL
    )
    caplog.set_level("INFO", "tl_keras")
    pretraining = BertPretraining(settings)
    assert "no masked-LM head and no next-sentence head" in caplog.text
    assert pretraining.tokenizer.lower_case
    assert not pretraining.tokenizer.strip_accents
    head = pretraining.model.mlm_head
    assert head.token_embedding is pretraining.model.backbone.token_embedding
    _place, batch = next(pretraining.trainer.batches.from_place(pretraining.trainer.place))
    table = np.array(pretraining.model.backbone.token_embedding.embeddings)
    pretraining.model.train_on_batch(*as_arrays(batch))
    moved = np.abs(np.array(pretraining.model.backbone.token_embedding.embeddings) - table).max(axis=1)
    unseen = np.setdiff1d(np.arange(len(table)), batch.token_ids)
    assert (moved[unseen] > 0).all(), "the output matrix is the embedding table, so every row gets a gradient"


GO = "import sys; from tl_keras.cli.pretrain import app; app(sys.argv[1:])"


def test_a_killed_run_resumes_to_the_same_losses(run, corpus_files, tmp_path):
    """SIGKILL in the middle, then --resume: the history of an uninterrupted run."""
    _, whole = run
    vectors = _vectors(tmp_path / "v.npy")
    options = ["--out", tmp_path / "cut", "--corpus", corpus_files[0], "--corpus", corpus_files[1], "--steps", 12]
    options += ["--vocab-size", 90, "--alphabet-size", 60, "--layers", 1, "--width", 16, "--heads", 2]
    options += ["--max-positions", 48, "--batch-tokens", 256, "--length-schedule", "24@0.5,48@1", "--warmup-steps", 2]
    options += ["--history-steps", 4, "--heldout-steps", 8, "--checkpoint-steps", 2, "--heldout-fraction", 0.1]
    options += ["--init-embeddings", vectors, "--no-export"]
    process = subprocess.Popen([sys.executable, "-c", GO, "bert", *map(str, options)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    try:
        while not (tmp_path / "cut" / "checkpoint.npz").is_file():
            assert process.poll() is None, process.stderr.read().decode()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "cut" / "metrics.json").exists(), "the run was over before it could be killed"
    app(["bert", "--out", str(tmp_path / "cut"), "--resume", "--no-export"], standalone_mode=False)
    for cut, expected in zip(history(tmp_path / "cut"), history(whole), strict=True):
        for name in ("step", "epoch", "tokens", "learning_rate"):
            assert cut[name] == expected[name]
        for name in expected:
            # Accuracies are left out: this early the best logits are nearly equal, and rounding decides among them.
            if name.endswith("loss") and expected[name]:
                assert float(cut[name]) == pytest.approx(float(expected[name]), abs=1e-3), (name, cut, expected)


def test_a_stop_request_leaves_a_checkpoint_and_the_length_may_change(corpus_files, tmp_path):
    settings = BertSettings(out=str(tmp_path / "o"), corpus=tuple(map(str, corpus_files)), steps=50, **SMALL)
    pretraining = BertPretraining(settings)
    pretraining.trainer.on_report = lambda report: setattr(pretraining.trainer, "stop_requested", report.step == 3)
    assert not pretraining.run()
    assert not (tmp_path / "o" / "metrics.json").exists()
    again = BertPretraining(BertSettings.resumed(tmp_path / "o", steps=3), resume=True)
    assert again.trainer.step == 3
    assert again.run(), "the shorter run is over already, and only its figures are missing"
    assert json.loads((tmp_path / "o" / "metrics.json").read_text())["steps"] == 3
    with pytest.raises(UserError, match="holds a run already"):
        BertPretraining(settings)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"corpus": ()}, "give text with --corpus"),
        ({"steps": None}, "--steps or as --minutes"),
        ({"vocab_size": 5000}, "can fill a vocabulary of"),
        ({"batch_tokens": 100_000}, "fewer than one batch"),
        ({"width": 15}, "cannot be divided among 2 heads"),
        ({"max_positions": 24}, "longer rows than --max-positions"),
        ({"lengths": ((1.0, 4),)}, "fewer than 8 tokens"),
        ({"licences": ("CC0",)}, "1 --licence for 2 --corpus"),
        ({"precision": "float8"}, "--precision 'float8' is not known"),
        ({"mask_fraction": 1.5}, "between 0 and 1"),
        ({"init": "x", "init_embeddings": "y"}, "leave out --init-embeddings"),
        ({"init_embeddings": "/nowhere.npy"}, "does not exist"),
        ({"vocab": "/nowhere.txt"}, "does not exist"),
    ],
)
def test_bad_calls_say_what_to_do(corpus_files, tmp_path, changes, reason):
    options = {"out": str(tmp_path / "o"), "corpus": tuple(map(str, corpus_files)), "steps": 2, **SMALL, **changes}
    with pytest.raises(UserError, match=reason):
        pretrain(BertSettings(**options))
    assert not (tmp_path / "o" / "checkpoint.npz").exists()
