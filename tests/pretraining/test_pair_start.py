"""Going on from pairs whose vocabulary is none of BERT's kind: SentencePiece with a pooler, byte pairs without."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("keras_hub")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("tensorflow_text")

from conftest import tiny_backbone  # noqa: E402
from tl_keras.encoders.encoder_weights import read_backbone  # noqa: E402
from tl_keras.encoders.pair import write_encoder_pair  # noqa: E402
from tl_keras.encoders.tokenizers import byte_characters  # noqa: E402
from tl_keras.encoders.vocabularies import ROBERTA_TOKENS, BytePairVocabulary  # noqa: E402
from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary  # noqa: E402
from tl_keras.errors import UserError  # noqa: E402
from tl_keras.pretraining.batches import BatchMaker, Place  # noqa: E402
from tl_keras.pretraining.bert import BertPretraining  # noqa: E402
from tl_keras.pretraining.bert_tasks import Masking  # noqa: E402
from tl_keras.pretraining.corpus import scan_corpus  # noqa: E402
from tl_keras.pretraining.pair_start import start_from_pair  # noqa: E402
from tl_keras.pretraining.pair_tokenizer import PairTokenizer  # noqa: E402
from tl_keras.pretraining.settings import BertSettings  # noqa: E402
from tl_keras.pretraining.token_files import prepare_token_files  # noqa: E402

pytestmark = pytest.mark.one_keras

TEXTS = ["the film was great, 영화 정말 재미있다!", "good music", ""]
SUGGESTED = {"pooling": "mean", "prompts": {"query": "query: ", "passage": "passage: "}, "learning_rate": 0.0002}
SMALL = {
    "batch_tokens": 512, "lengths": ((1.0, 48),), "warmup_steps": 1, "heldout_fraction": 0.1, "whole_words": True, "steps": 1,
}  # fmt: skip


def byte_pair_vocabulary() -> BytePairVocabulary:
    """All bytes, and what makes a few English words of them."""
    words = ["Ġthe", "Ġfilm", "Ġwas", "Ġgood", "Ġmusic", "the", "film"]
    merges = list(dict.fromkeys((word[:n], word[n]) for word in words for n in range(1, len(word))))
    merged = dict.fromkeys(left + right for left, right in merges)
    special = list(ROBERTA_TOKENS.values())
    return BytePairVocabulary([*special[1:4], special[0], *byte_characters(), *merged, special[4]], merges)


@pytest.fixture(scope="module")
def pairs(sentencepiece_pair, tmp_path_factory):
    """By kind: XLM-R's way with a pooler, RoBERTa's without one and with its epsilon."""
    folder = tmp_path_factory.mktemp("pairs")
    shutil.copytree(sentencepiece_pair, folder / "SentencePiece")
    facts = json.loads((sentencepiece_pair / "info.json").read_text())
    (folder / "SentencePiece" / "info.json").write_text(json.dumps({**facts, "suggested": SUGGESTED}))
    vocabulary = byte_pair_vocabulary()
    weights = read_backbone(tiny_backbone(len(vocabulary.tokens), seed=13))
    arrays = {name: array for name, array in weights.arrays.items() if not name.startswith("pooler")}
    weights = dataclasses.replace(weights, arrays=arrays, epsilon=1e-5)
    write_encoder_pair(folder / "BytePair", weights, vocabulary, seq_length=32, info={"suggested": SUGGESTED})
    return folder


def encoded(pair):
    """A pair's inputs and outputs for a text, and for two at once."""
    encoder, preprocess = (tf.saved_model.load(str(pair / part)) for part in ("encoder", "preprocess"))
    tokens = preprocess.tokenize(tf.constant(TEXTS))
    packed = preprocess.bert_pack_inputs([tokens, tokens[::-1]], tf.constant(40))
    return packed, encoder(packed, training=False), preprocess


@pytest.mark.parametrize("kind", ["SentencePiece", "BytePair"])
def test_a_run_keeps_what_the_pair_was_and_goes_on_without_it(kind, pairs, corpus_files, tmp_path):
    """Before the first step the new pair encodes as the old one, which may be gone then."""
    start, out = tmp_path / "start", tmp_path / "o"
    shutil.copytree(pairs / kind, start)
    # Reviews alone for byte pairs, so that no pair of sentences ever trains the new pooler.
    corpus = corpus_files[kind == "SentencePiece"]
    run = BertPretraining(BertSettings(out=str(out), corpus=(str(corpus),), init=str(start), **SMALL))
    new = ["masked-LM head", "next-sentence head"]
    new = new if kind == "SentencePiece" else ["pooler", *new]
    assert json.loads((out / "config.json").read_text())["new_parts"] == new
    # A new head begins with how frequent the tokens are.
    bias, tokens = np.asarray(run.model.mlm_head._bias), run.tokens.train.tokens
    (frequent, count), rare = np.unique(tokens, return_counts=True), np.setdiff1d(np.arange(len(bias)), tokens)[0]
    assert bias[frequent] - bias[rare] == pytest.approx(np.log(count + 1), abs=1e-5)

    run.export()
    before, after = encoded(start), encoded(out)
    shutil.rmtree(start)
    for ours, theirs in zip(before[:2], after[:2], strict=True):
        for name in ("input_word_ids", "input_mask", "input_type_ids", "sequence_output", "pooled_output"):
            if name in ours:
                assert theirs[name].numpy() == pytest.approx(ours[name].numpy(), abs=2e-6), name
    prompts = after[2].get_prompts()
    assert {role: prompt.numpy().decode() for role, prompt in prompts.items()} == SUGGESTED["prompts"]
    facts = json.loads((out / "info.json").read_text())
    assert (facts["suggested"], facts["pooler"]) == (SUGGESTED, kind == "SentencePiece")
    assert read_pair_vocabulary(out) == read_pair_vocabulary(pairs / kind)

    assert run.run()
    assert f"cased {kind} vocabulary" in (out / "model_card.md").read_text("utf-8")
    again = BertPretraining(BertSettings.resumed(out), resume=True)
    assert (again.trainer.step, again.settings.peak_learning_rate) == (1, 2e-4)
    assert again.tokenizer.encode(TEXTS) == after[2].tokenize(tf.constant(TEXTS)).to_list()
    assert np.array_equal(again.tokenizer.continuation, run.tokenizer.continuation)
    for ours, theirs in zip(again.model.variables, run.model.variables, strict=True):
        assert np.array_equal(ours, theirs), ours.path


@pytest.mark.parametrize("kind", ["SentencePiece", "BytePair"])
def test_rows_are_packed_as_the_pair_packs_them(kind, pairs, corpus_files, tmp_path):
    tokenizer = PairTokenizer(read_pair_vocabulary(pairs / kind))
    folder = prepare_token_files(tmp_path / "tokens", [scan_corpus(corpus_files[1])], tokenizer)
    size = len(tokenizer.vocabulary)
    maker = BatchMaker(folder.train, tokenizer.special, size, Masking(), token_budget=512, packing=tokenizer.packing)
    length, rows = maker.window_plans(Place(max_length=48))[0]
    batch = maker.realise(length, rows, [0])
    ids, places = batch.token_ids.copy().ravel(), batch.masked_positions[batch.mlm_weights > 0]
    ids[places] = batch.mlm_labels[batch.mlm_weights > 0]
    ids = ids.reshape(batch.token_ids.shape)
    parts = [[folder.train.tokens[a:b].tolist() for a, b in rows[:, columns]] for columns in ([0, 1], [2, 3])]
    paired = [row for row in range(len(rows)) if parts[1][row]]
    assert paired, "documents of several sentences give pairs"
    preprocess = tf.saved_model.load(str(pairs / kind / "preprocess"))
    ragged = [tf.ragged.constant([part[row] for row in paired], tf.int32) for part in parts]
    packed = preprocess.bert_pack_inputs(ragged, tf.constant(length))
    assert ids[paired].tolist() == packed["input_word_ids"].numpy().tolist()
    assert batch.padding_mask[paired].tolist() == packed["input_mask"].numpy().tolist()
    assert not batch.segment_ids.any(), "these families were trained with 0 for both"
    # Sentences behind the first are split as they are within the text.
    first, *_ = corpus_files[1].read_text("utf-8").split("\n\n")
    whole = preprocess.tokenize(tf.constant([first.strip().replace("\n", " ")])).to_list()[0]
    train, heldout = (np.asarray(part.tokens).tolist() for part in (folder.train, folder.heldout))
    assert whole in (train[: len(whole)], heldout[: len(whole)])


@pytest.mark.parametrize("kind", ["SentencePiece", "BytePair"])
def test_words_are_those_between_blanks_without_their_punctuation(kind, pairs):
    tokenizer = PairTokenizer(read_pair_vocabulary(pairs / kind))
    text = "the film was good, 영화 정말 재미있다! 12 music..."
    ids = np.asarray(tokenizer.encode([text])[0])
    assert len(ids) > 20
    starts = (~tokenizer.continuation[ids]).tolist()
    starts[0] = True
    words = re.findall(r"\w+|[^\w\s]", text)
    if kind == "SentencePiece":
        pieces = "".join(" " * start + tokenizer.vocabulary[i] for i, start in zip(ids, starts, strict=True))
        assert pieces.replace("▁", "").split() == words
    else:
        assert sum(starts) == len(words)


def test_a_network_with_narrow_embeddings_is_refused_in_one_line(sentencepiece_pair, tmp_path):
    vocabulary = read_pair_vocabulary(sentencepiece_pair)
    weights = read_backbone(tiny_backbone(len(vocabulary.tokens), seed=14))
    arrays = dict(weights.arrays)
    for name in ("word_embeddings", "position_embedding", "type_embeddings"):
        arrays[f"{name}/embeddings"] = arrays[f"{name}/embeddings"][:, :6]
    arrays |= {
        f"embeddings/layer_norm/{part}": arrays[f"embeddings/layer_norm/{part}"][:6] for part in ("gamma", "beta")
    }
    arrays |= {
        "embedding_projection/kernel": np.eye(6, 16, dtype="float32"),
        "embedding_projection/bias": np.zeros(16, "float32"),
    }
    pair = write_encoder_pair(tmp_path / "narrow", dataclasses.replace(weights, arrays=arrays), vocabulary)
    with pytest.raises(UserError, match=r"^--init .*narrower than its blocks.*compress --distil-on"):
        start_from_pair(str(pair))


@pytest.mark.parametrize(
    ("pooling", "new_parts", "sentences", "kept"),
    [
        (None, (), 10, True),
        (None, ("pooler",), 15, True),
        (None, ("pooler",), 10, False),  # it never saw a pair of sentences
        ("cls", ("pooler",), 15, False),  # the vector at the first token is meant as it is
        ("cls", (), 15, True),
    ],
)
def test_a_new_pooler_stays_where_it_was_trained_and_is_not_in_the_way(pooling, new_parts, sentences, kept):
    run = object.__new__(BertPretraining)
    run._suggested, run._new_parts = {"pooling": pooling} if pooling else {}, new_parts
    run.tokens = SimpleNamespace(train=SimpleNamespace(sentences=range(sentences), documents=range(10)))
    assert run.keeps_pooler is kept
