from __future__ import annotations

import csv

import pytest

from tl_keras.encoders.presets import find_preset, list_presets, near_presets, preset_for_handle
from tl_keras.errors import UserError

pytestmark = pytest.mark.one_keras


def bert_parameters(layers, width, vocabulary, positions=512, types=2):
    """Counted part by part: embeddings and their norm; query, key, value, output; feed-forward; two norms; pooler."""
    embeddings = (vocabulary + positions + types) * width + 2 * width
    attention = 4 * (width * width + width)
    feed_forward = (width * 4 * width + 4 * width) + (4 * width * width + width)
    return embeddings + layers * (attention + feed_forward + 4 * width) + width * width + width


def test_the_table_has_what_was_promised():
    names = {preset.name for preset in list_presets()}
    assert len(names) == len(list_presets())
    grid = {
        f"small_bert/bert_en_uncased_L-{layers}_H-{width}_A-{width // 64}"
        for layers in (2, 4, 6, 8, 10, 12)
        for width in (128, 256, 512, 768)
    }
    assert grid <= names
    assert {
        "bert_en_uncased_L-12_H-768_A-12",
        "bert_en_cased_L-24_H-1024_A-16",
        "bert_multi_cased_L-12_H-768_A-12",
        "klue_bert_cased_L-12_H-768_A-12",
        "klue_roberta_cased_L-6_H-768_A-12",
        "klue_roberta_cased_L-24_H-1024_A-16",
        "distilkobert_cased_L-3_H-768_A-12",
        "albert_en_xxlarge",
        "electra_small",
        "LaBSE",
        "nnlm-ko-dim50",
        "nnlm-ko-dim128-with-normalization",
        "nnlm-en-dim128",
        "universal-sentence-encoder",
        "universal-sentence-encoder-multilingual-large",
    } <= names
    for preset in list_presets():
        assert preset.kind in ("encoder", "text-embedding")
        assert preset.language
        assert preset.licence
        if preset.handle.startswith("https://"):
            assert (preset.preprocessor is None) == (preset.kind == "text-embedding")
        if "_H-" in preset.name:
            assert f"_L-{preset.layers}_H-{preset.width}_" in preset.name


# What the papers and model cards say, to the precision they say it.
@pytest.mark.parametrize(
    ("name", "millions", "digits"),
    [
        ("bert_en_uncased_L-12_H-768_A-12", 110, -1),
        ("bert_en_uncased_L-24_H-1024_A-16", 340, -1),
        ("small_bert/bert_en_uncased_L-2_H-128_A-2", 4.4, 1),
        ("klue_roberta_cased_L-6_H-768_A-12", 68, 0),
        ("klue_roberta_cased_L-24_H-1024_A-16", 337, 0),
        ("albert_en_base", 12, 0),
        ("albert_en_large", 18, 0),
        ("electra_small", 14, 0),
        ("LaBSE", 470.9, 1),
        ("smaller_LaBSE_15lang", 219.2, 1),
        ("distilbert_en_uncased_L-6_H-768_A-12", 66, 0),
    ],
)
def test_parameters_are_the_published_figures(name, millions, digits):
    assert round(find_preset(name).parameters / 1e6, digits) == pytest.approx(millions)


def test_parameters_by_the_bert_formula():
    vocabularies = {"en_uncased": 30522, "en_cased": 28996, "multi_cased": 119547, "klue_bert": 32000}
    checked = 0
    for preset in list_presets():
        for part, vocabulary in vocabularies.items():
            if f"{part}_" in preset.name and "distil" not in preset.name and "roberta" not in preset.name:
                assert preset.parameters == bert_parameters(preset.layers, preset.width, vocabulary), preset.name
                checked += 1
    assert checked == 24 + 2 + 2 + 1 + 1


def test_names_handles_and_urls_lead_to_a_preset():
    base = find_preset("bert_en_uncased_L-12_H-768_A-12")
    for handle in (
        "https://tfhub.dev/tensorflow/bert_en_uncased_L-12_H-768_A-12/4",
        "https://tfhub.dev/tensorflow/bert_en_uncased_L-12_H-768_A-12/3",
        "tensorflow/bert_en_uncased_L-12_H-768_A-12/4",
        "https://www.kaggle.com/models/tensorflow/bert/TensorFlow2/bert-en-uncased-l-12-h-768-a-12/4",
        "https://www.kaggle.com/models/tensorflow/bert/frameworks/tensorFlow2/variations/bert-en-uncased-l-12-h-768-a-12",
    ):
        assert preset_for_handle(handle) == base, handle
    assert preset_for_handle("https://tfhub.dev/someone/bert_en_uncased_L-12_H-768_A-12/4") is None
    assert preset_for_handle("https://example.com/model.tar.gz") is None
    assert find_preset("bert_multi_cased").width == 768


def test_a_missing_name_shows_the_nearest():
    with pytest.raises(UserError, match=r"no preset 'nnlm-ko-dim52'; the nearest are: nnlm-ko-dim50,"):
        find_preset("nnlm-ko-dim52")
    assert near_presets("klue-roberta")[0].startswith("klue_roberta_cased")
    # three presets begin so: none is meant
    with pytest.raises(UserError, match="klue_roberta_cased_L-6"):
        find_preset("klue_roberta_cased")
    with pytest.raises(UserError, match="tl-keras encoders"):
        find_preset("qqqq")


def test_presets_for_a_language():
    korean = {preset.name for preset in list_presets(language="ko")}
    assert {"klue_bert_cased_L-12_H-768_A-12", "LaBSE", "universal-sentence-encoder-multilingual"} <= korean
    assert not any("en_uncased" in name for name in korean)


@pytest.mark.real_data
def test_facts_are_those_of_the_published_table(shared_dir):
    with (shared_dir / "hub_text_modules.csv").open(encoding="utf-8") as file:
        rows = {f"https://tfhub.dev/{row['handle']}": row for row in csv.DictReader(file)}
    for preset in list_presets():
        if preset.handle.startswith("https://"):
            row = rows[preset.handle]
            assert preset.language == row["language"]
            assert preset.preprocessor == (f"https://tfhub.dev/{row['preprocess']}" if row["preprocess"] else None)
            # tfhub.dev's documentation takes a page without a licence for Apache-2.0; the table says that it is assumed.
            assert preset.licence == (row["license"] or "apache-2.0 (assumed by tfhub.dev)")
