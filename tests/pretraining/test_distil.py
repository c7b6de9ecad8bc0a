"""Distillation: the losses, the rows, a run that is cut short, and what `compress` makes of an encoder."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("keras_hub")
tf = pytest.importorskip("tensorflow")

import tl_keras as tlk  # noqa: E402
from tl_keras.encoders.encoder_weights import EncoderWeights, gelu  # noqa: E402
from tl_keras.encoders.pair import write_encoder_pair  # noqa: E402
from tl_keras.encoders.pair_encoder import read_pair_weights  # noqa: E402
from tl_keras.encoders.vocabularies import WordPieceRules, WordPieceVocabulary  # noqa: E402
from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary  # noqa: E402
from tl_keras.errors import UserError  # noqa: E402
from tl_keras.pretraining.distil import Distillation  # noqa: E402
from tl_keras.pretraining.distil_batches import DistilBatches, MaskedWordsHead  # noqa: E402
from tl_keras.pretraining.distil_model import Distiller, LossWeights, keep_blocks, likeness  # noqa: E402

pytestmark = pytest.mark.one_keras

WIDTH = 16
SMALL = {"batch_tokens": 256, "seq_length": 32, "warmup_steps": 2, "history_steps": 4, "checkpoint_steps": 5}


def network(tokens: int, blocks: int = 3) -> EncoderWeights:
    rng = np.random.default_rng(5)

    def normal(*shape):
        return (rng.normal(size=shape) * 0.3).astype(np.float32)

    def norm(name):
        return {f"{name}/gamma": np.ones(WIDTH, np.float32), f"{name}/beta": np.zeros(WIDTH, np.float32)}

    arrays = {"word_embeddings/embeddings": normal(tokens, WIDTH), "position_embedding/embeddings": normal(48, WIDTH)}
    arrays |= {"type_embeddings/embeddings": normal(2, WIDTH), **norm("embeddings/layer_norm")}
    for block in range(blocks):
        name = f"transformer/layer_{block}"
        for part in ("query", "key", "value"):
            arrays[f"{name}/self_attention/{part}/kernel"] = normal(WIDTH, 2, 8)
            arrays[f"{name}/self_attention/{part}/bias"] = normal(2, 8)
        arrays[f"{name}/self_attention/attention_output/kernel"] = normal(2, 8, WIDTH)
        arrays[f"{name}/self_attention/attention_output/bias"] = normal(WIDTH)
        arrays |= norm(f"{name}/self_attention_layer_norm")
        arrays[f"{name}/intermediate/kernel"], arrays[f"{name}/intermediate/bias"] = normal(WIDTH, 32), normal(32)
        arrays[f"{name}/output/kernel"], arrays[f"{name}/output/bias"] = normal(32, WIDTH), normal(WIDTH)
        arrays |= norm(f"{name}/output_layer_norm")
    # The gelu that what is read back has too: TensorFlow computes its own in another order.
    return EncoderWeights(arrays, blocks, 2, 0.0, 0.0, 1e-12, gelu)


@pytest.fixture(scope="module")
def teacher(word_piece, tmp_path_factory):
    """An encoder pair of three blocks with random weights, whose makers suggest a prompt."""
    return write_encoder_pair(
        tmp_path_factory.mktemp("teacher") / "large",
        network(len(word_piece.vocabulary)),
        WordPieceVocabulary(word_piece.vocabulary, WordPieceRules(lower_case=False)),
        seq_length=40,
        info={"suggested": {"pooling": "mean", "prompts": {"query": "the "}}},
    )


@pytest.fixture(scope="module")
def student(teacher, corpus_files, tmp_path_factory):
    """What 12 steps in one go made of it, its folder and its report."""
    folder = tmp_path_factory.mktemp("student") / "small"
    report = tlk.compress(
        teacher, folder, layers=[0, 2], distil_on=corpus_files, vocabulary_from=corpus_files[:1], min_count=1, steps=12,
        peak_learning_rate=3e-3, heldout_fraction=0.1, heldout_steps=4, masked_rows=0.5, **SMALL
    )  # fmt: skip
    return folder, report


def test_the_losses_are_what_numpy_says(tokens, word_piece):
    weights = network(len(word_piece.vocabulary))
    special = word_piece.special
    batches = list(DistilBatches(tokens.train, special, token_budget=200).once(32, 3))
    same = Distiller(weights, weights, range(3), LossWeights())
    same.measure_variances(batches)
    assert max(map(abs, same.test_on_batch(batches[0]).values())) < 1e-5
    # The blocks' outputs are those of the pass that is exported: by it and numpy alone.
    half = Distiller(weights, keep_blocks(weights, [0, 2]), [0, 2], LossWeights(text=2.0, likeness=0.5))
    half.measure_variances(batches)

    def outputs(model, batch):
        feed = {
            "input_word_ids": batch.token_ids,
            "input_mask": batch.padding_mask,
            "input_type_ids": batch.token_ids * 0,
        }
        mask = batch.padding_mask > 0
        blocks = [block.numpy() for block in model.forward(feed)["encoder_outputs"]]
        return [b[mask] for b in blocks], np.stack(
            [row[m].mean(axis=0) for row, m in zip(blocks[-1], mask, strict=True)]
        )

    taught = [outputs(half._teacher, batch) for batch in batches]
    variances = [np.concatenate([blocks[i] for blocks, _ in taught]).var(axis=0).sum() for i in (0, 2)]
    variances.append(np.concatenate([texts for _, texts in taught]).var(axis=0).sum())
    (wanted, wanted_text), (given, given_text) = taught[0], outputs(half._student, batches[0])
    distances = [((g - wanted[i]) ** 2).sum(axis=1).mean() for g, i in zip(given, (0, 2), strict=True)]
    distances.append(((given_text - wanted_text) ** 2).sum(axis=1).mean())
    middle, token, text = np.asarray(distances) / variances
    measured = half.test_on_batch(batches[0])
    cosines = [t @ t.T / np.outer(*[np.linalg.norm(t, axis=1)] * 2) / 0.05 for t in (given_text, wanted_text)]
    rows = [[np.delete(row, i) for i, row in enumerate(c)] for c in cosines]
    student_log, teacher_log = ([r - np.log(np.exp(r).sum()) for r in c] for c in rows)
    alike = np.mean([(np.exp(t) * (t - s)).sum() for s, t in zip(student_log, teacher_log, strict=True)])
    expected = {"token_loss": token, "middle_loss": middle, "text_loss": text, "likeness_loss": alike}
    expected["loss"] = token + middle + 2 * text + 0.5 * alike
    assert measured == pytest.approx(expected, rel=2e-3)
    assert float(likeness(tf.ones([1, 4]), tf.ones([1, 4]), 0.05)) == 0.0


def test_masked_words_are_scored_as_the_exported_head_scores_them(tokens, word_piece, tmp_path):
    weights = network(len(word_piece.vocabulary))
    special = word_piece.special
    batch = next(iter(DistilBatches(tokens.train, special, token_budget=200, masked_rows=1.0).once(32, 1)))
    head = MaskedWordsHead(weights, np.arange(len(word_piece.vocabulary)))
    model = Distiller(weights, weights, range(3), LossWeights(words=0.1), head=head)
    measured = model.test_on_batch(batch)
    pair = write_encoder_pair(
        tmp_path / "pair",
        weights,
        WordPieceVocabulary(word_piece.vocabulary, WordPieceRules(lower_case=False)),
        mlm_head=head.weights(),
    )
    feed = {"input_word_ids": batch.masked_ids, "input_mask": batch.padding_mask, "input_type_ids": batch.token_ids * 0}
    feed["masked_lm_positions"] = np.tile(
        np.arange(batch.token_ids.shape[1], dtype=np.int32), (len(batch.token_ids), 1)
    )
    mlm = tf.saved_model.load(str(pair / "encoder")).mlm
    logits = mlm({name: tf.constant(array) for name, array in feed.items()}, training=False)["mlm_logits"].numpy()
    chosen = batch.masked_ids != batch.token_ids
    assert chosen.sum() == batch.masks > 3
    scores, words = logits[chosen].astype(np.float64), batch.token_ids[chosen]
    entropies = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(words)), words]
    assert measured["words_loss"] == pytest.approx(entropies.mean(), rel=1e-4)
    assert measured["words_accuracy"] == pytest.approx((scores.argmax(axis=1) == words).mean())
    distances = Distiller(weights, weights, range(3), LossWeights()).test_on_batch(batch)["loss"]
    assert measured["loss"] == pytest.approx(distances + 0.1 * entropies.mean(), rel=1e-4)
    for _ in range(15):
        learned = model.train_on_batch(batch, 1e-2)
    assert learned["words_loss"] < 0.8 * measured["words_loss"]


def test_rows_hold_every_token_once_with_prompts_and_masks(tokens, word_piece):
    special = word_piece.special
    prompt = word_piece.encode(["the film"])[0]
    batches = DistilBatches(
        tokens.train, special, [(0.5, prompt)], separators=2, masked_rows=0.5, mask_fraction=0.4, token_budget=300
    )
    seen, prompted, rows, masked, two = [], 0, 0, 0, 0
    for batch in batches.once(48):
        assert batch.token_ids.size <= 300 or len(batch.token_ids) == 1
        for ids, student_ids, mask in zip(batch.token_ids, batch.masked_ids, batch.padding_mask, strict=True):
            ids, student_ids = ids[mask > 0].tolist(), student_ids[mask > 0].tolist()
            assert ids[0] == special.start
            assert ids[-1] == special.end
            assert special.padding not in ids
            differ = [i for i, (a, b) in enumerate(zip(ids, student_ids, strict=True)) if a != b]
            assert all(student_ids[i] == special.mask for i in differ)
            body = ids[1:-1]
            if special.end in body:
                cut = body.index(special.end)
                assert body[cut : cut + 2] == [special.end] * 2
                del body[cut : cut + 2]
                two += 1
            rows, masked = rows + 1, masked + bool(differ)
            seen.append(body)
    # Sentences differ in their words, so each row is found in the file once, with the prompt or without.
    stream = tokens.train.tokens.tolist()
    places = {
        tuple(stream[a:b]): a
        for a in map(int, tokens.train.sentences[:-1])
        for b in range(a + 1, min(a + 49, len(stream) + 1))
    }
    count = 0
    for body in seen:
        with_prompt = body[: len(prompt)] == prompt and tuple(body[len(prompt) :]) in places
        prompted += with_prompt
        body = body[len(prompt) :] if with_prompt else body
        assert tuple(body) in places
        count += len(body)
    assert count == tokens.train.token_count
    assert 0.35 < prompted / rows < 0.65
    assert 0.35 < masked / rows < 0.6
    assert two > 3


def test_a_student_comes_nearer_to_its_teacher_and_is_a_pair(student, teacher, corpus_files):
    folder, report = student
    rows = list(csv.DictReader((folder / "history.csv").open()))
    assert float(rows[-1]["heldout_token_loss"]) < 0.9 * float(rows[0]["heldout_token_loss"])
    assert (report.before.layers, report.after.layers) == (3, 2)
    assert report.after.tokens < report.before.tokens
    assert report.after.weights < report.before.weights
    assert report.after.tokens_per_text == report.before.tokens_per_text > 3
    assert "tokens per text" in str(report)
    info = json.loads((folder / "info.json").read_text())
    assert info["compressed_from"] == "large"
    assert info["suggested"]["prompts"] == {"query": "the "}
    assert info["distilled"]["heldout"]["token_loss"] == pytest.approx(float(rows[-1]["heldout_token_loss"]), abs=1e-4)
    card = (folder / "model_card.md").read_text()
    assert "distilled from `large`" in card
    assert '"the " 80%' in card
    filled = tlk.fill_mask(folder, "the [MASK].", top=len(read_pair_vocabulary(folder).tokens))
    assert filled.probability.sum() == pytest.approx(1, abs=1e-5)


def test_a_run_that_was_cut_short_ends_as_if_it_had_not_been(student, teacher, corpus_files, tmp_path):
    config = json.loads((student[0] / "config.json").read_text())
    folder = tmp_path / "small"

    def cut(distillation: Distillation):
        distillation.trainer.on_report = lambda report: setattr(
            distillation.trainer, "stop_requested", report.step == 7
        )
        return distillation.run()

    with pytest.raises(UserError, match="was stopped; go on with it by --resume"):
        tlk.compress(
            teacher, folder, layers=[0, 2], distil_on=corpus_files, vocabulary_from=corpus_files[:1], min_count=1, steps=12,
            peak_learning_rate=3e-3, heldout_fraction=0.1, heldout_steps=4, masked_rows=0.5, run=cut, **SMALL
        )  # fmt: skip
    assert not (folder / "encoder").exists()
    tlk.compress(teacher, folder, resume=True)
    assert json.loads((folder / "config.json").read_text())["layers"] == config["layers"] == [0, 2]
    ends = [read_pair_weights(f / "encoder") for f in (student[0], folder)]
    for part in (0, 2):  # the network, and its masked-LM head
        for name, array in ends[0][part].arrays.items():
            np.testing.assert_allclose(ends[1][part].arrays[name], array, atol=1e-5, err_msg=name)


def test_without_distillation_outputs_are_the_same_bit_for_bit(teacher, corpus_files, tmp_path):
    texts = corpus_files[0].read_text("utf-8").splitlines()[:20]
    (tmp_path / "few.txt").write_text("\n".join(texts), encoding="utf-8")
    tlk.compress(teacher, tmp_path / "small", vocabulary_from=[tmp_path / "few.txt"], min_count=1, layers=[0, 1])
    outputs = []
    for folder in (teacher, tmp_path / "small"):
        inputs = tf.saved_model.load(str(folder / "preprocess"))(tf.constant(texts))
        outputs.append(tf.saved_model.load(str(folder / "encoder"))(inputs, training=False)["encoder_outputs"])
    assert len(outputs[1]) == 2
    np.testing.assert_array_equal(outputs[1][1].numpy(), outputs[0][1].numpy())
    small, large = (read_pair_vocabulary(f) for f in (tmp_path / "small", teacher))
    assert set(small.tokens) < set(large.tokens)


def test_the_prompts_tokens_stay_whatever_the_texts_hold(teacher, tmp_path):
    # Its words are not in the texts, which are what the vocabulary is cut to.
    (tmp_path / "few.txt").write_text("a b a b\nb a\n", encoding="utf-8")
    assert "the" in read_pair_vocabulary(teacher).tokens
    tlk.compress(teacher, tmp_path / "small", vocabulary_from=[tmp_path / "few.txt"], min_count=1)
    split = []
    for folder in (teacher, tmp_path / "small"):
        ids = tf.saved_model.load(str(folder / "preprocess")).tokenize(tf.constant(["the "])).flat_values.numpy()
        tokens = read_pair_vocabulary(folder).tokens
        split.append([tokens[number] for number in np.ravel(ids)])
    assert split == [["the"], ["the"]]
    assert len(read_pair_vocabulary(tmp_path / "small").tokens) < len(read_pair_vocabulary(teacher).tokens)
    # The longest text, which the makers chose, is not forgotten either.
    assert [json.loads((f / "info.json").read_text())["seq_length"] for f in (teacher, tmp_path / "small")] == [40, 40]


def test_wrong_calls_are_told_in_one_line_and_leave_nothing(teacher, corpus_files, tmp_path):
    empty, out = tmp_path / "empty.txt", tmp_path / "out"
    empty.write_text("\n")
    for message, call in {
        "nothing to do": {},
        "give increasing numbers of the encoder's 3 blocks, 0 to 2": {"layers": [1, 3]},
        "--layers 2,1": {"layers": [2, 1]},
        "empty.txt holds 0 line": {"vocabulary_from": [empty]},
        "no setting of a distillation": {"distil_on": corpus_files, "steps": 2, "colour": "red"},
        "give the length of the run": {"distil_on": corpus_files, "seq_length": 32},
        "--seq-length 64, but the encoder has 48": {"distil_on": corpus_files, "steps": 2, "seq_length": 64},
        "there is no run to resume": {"resume": True},
    }.items():
        with pytest.raises(UserError, match=message):
            tlk.compress(teacher, out, **call)
        assert not out.exists()
    with pytest.raises(UserError, match="is the encoder itself"):
        tlk.compress(teacher, teacher, layers=[0])
