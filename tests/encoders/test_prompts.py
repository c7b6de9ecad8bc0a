"""What an encoder was trained to see before a text is put there in the graph, as if the user had written it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import tl_keras as tlk
from tl_keras.data import RetrievalPairs, ScoredExamples
from tl_keras.encoders.convert_sentence_transformers import read_prompts
from tl_keras.encoders.pair_preprocess import PreprocessModule
from tl_keras.encoders.vocabulary_trim import read_pair_vocabulary
from tl_keras.serving.evaluate import evaluate_retrieval

PROMPTS = {"query": "query: ", "passage": "passage: "}
DOCUMENTS = ["the great film was dull", "서울에서 부산까지", "영화 정말 재미있다", "the music was awful"]


@pytest.fixture(scope="module")
def pair(sentencepiece_pair, tmp_path_factory):
    """The pair of the other tests, with prompts: the same network."""
    folder = shutil.copytree(sentencepiece_pair, tmp_path_factory.mktemp("prompts") / "pair")
    shutil.rmtree(folder / "preprocess")
    (folder / "manifest.json").unlink()
    module = PreprocessModule(read_pair_vocabulary(folder), "", 32, PROMPTS)
    tf.saved_model.save(module, str(folder / "preprocess"), signatures=module.trace())
    return folder


@pytest.fixture(scope="module")
def prompted(pair):
    return tlk.load_encoder(str(pair), seq_length=24)


@pytest.fixture(scope="module")
def plain(sentencepiece_pair):
    return tlk.load_encoder(str(sentencepiece_pair), seq_length=24)


def ids_of(batch, prefix=""):
    return batch[f"{prefix}input_word_ids"].numpy().tolist()


def test_texts_get_the_prompt_of_their_role_and_offsets_none(prompted, plain):
    texts = tf.constant(["the film", ""])
    for role, prompt in (*PROMPTS.items(), (None, "")):
        wanted = plain.preprocessor.tokenize(tf.constant([f"{prompt}the film", prompt])).to_list()
        assert prompted.preprocessor.tokenize(texts, role).to_list() == wanted
    assert prompted.offset_tokenizer(texts).ids.to_list() == plain.preprocessor.tokenize(texts).to_list()
    assert prompted.preprocessor.unknown_id == 3
    (batch,) = prompted.batches(["the film", "영화"])
    (wanted,) = plain.batches(["query: the film", "query: 영화"])
    assert ids_of(batch) == ids_of(wanted)


def test_documents_for_a_search_of_ones_own_are_encoded_as_passages(prompted, plain):
    for role, prompt in PROMPTS.items():
        expected = tlk.encode(plain, [prompt + text for text in DOCUMENTS], "mean")
        np.testing.assert_allclose(tlk.encode(prompted, DOCUMENTS, "mean", role=role), expected, atol=1e-6)
        model = tlk.sentence_encoder(prompted, "freeze", pooling="mean", normalize=False)
        np.testing.assert_allclose(tlk.encode(model, DOCUMENTS, role=role), expected, atol=1e-6)
    with pytest.raises(tlk.UserError, match="role='document' is not one of query, passage"):
        tlk.encode(prompted, DOCUMENTS, role="document")


def test_only_what_is_searched_is_a_passage(prompted, plain):
    asked, found = ["the film", "영화"], ["dull", "재미있다"]
    for examples, second in (
        (RetrievalPairs.from_lists(asked, found), "passage: "),
        (ScoredExamples.from_lists(asked, [0.0, 1.0], found), "query: "),
    ):
        ((batch, _),) = prompted.pair_batches(examples)
        (wanted,) = plain.batches([f"query: {text}" for text in asked])
        assert ids_of(batch, "query_") == ids_of(wanted)
        (wanted,) = plain.batches([second + text for text in found])
        assert ids_of(batch, "document_") == ids_of(wanted)


def test_search_and_its_export_use_both_prompts(prompted, plain, tmp_path):
    model = tlk.sentence_encoder(prompted, "freeze")
    plainly = tlk.sentence_encoder(plain, "freeze")
    passages = tlk.encode(plainly, [f"passage: {text}" for text in DOCUMENTS])
    queries = tlk.encode(plainly, [f"query: {text}" for text in DOCUMENTS])
    np.testing.assert_allclose(tlk.encode(model, DOCUMENTS), queries, atol=1e-5)
    exported = tlk.export(model, tmp_path / "exported" / "1")
    for made in (model, str(shutil.move(exported, tmp_path / "moved"))):
        index = tlk.TextIndex.build(made, DOCUMENTS)
        np.testing.assert_allclose(index.vectors, passages, atol=1e-5)
        hits = index.search(DOCUMENTS, k=1)
        best = (queries @ passages.T).max(axis=1)
        np.testing.assert_allclose(hits["score"], best, atol=1e-5)
    # Each text, asked, finds its own passage as often as these vectors say.
    scores = queries @ passages.T
    ranks = 1 + (scores > np.diag(scores)[:, np.newaxis]).sum(axis=1)
    report = evaluate_retrieval(model, RetrievalPairs.from_lists(DOCUMENTS, DOCUMENTS))
    assert report.mrr == pytest.approx(np.mean(1 / ranks))


def test_shared_words_are_not_those_of_the_prompt(prompted):
    model = tlk.sentence_encoder(prompted, "freeze", lexical_weight=0.5, lexical_texts=DOCUMENTS)
    table = model.get_layer("lexical")
    prompt = sorted(prompted.preprocessor.prompt_ids)
    assert prompt
    assert not np.asarray(table.scale)[prompt].round(9).any()


def test_prompts_of_sentence_transformers(tmp_path):
    assert read_prompts(tmp_path) == {}
    for prompts, expected in (
        ({"query": "query: ", "passage": "passage: "}, PROMPTS),
        ({"query": "Ask: ", "document": "Text: ", "clustering": "x"}, {"query": "Ask: ", "passage": "Text: "}),
        ({"query": "", "document": ""}, {}),
    ):
        (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
        assert read_prompts(tmp_path) == expected
