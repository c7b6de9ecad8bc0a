"""What takes a model, an encoder or a path, given something else: one line that says what is wanted, whatever was given."""

import pytest

import tl_keras as tlk
from tl_keras._keras import keras
from tl_keras.data.examples import Examples

FEW = Examples.from_lists(["good", "bad", "fine", "dull"], ["x", "y", "x", "y"])
WANTS_ENCODER = {
    "text_classifier": lambda it: tlk.text_classifier(it, ["x", "y"]),
    "token_classifier": lambda it: tlk.token_classifier(it, ["PER"]),
    "question_answerer": tlk.question_answerer,
    "sentence_encoder": tlk.sentence_encoder,
    "text_regressor": lambda it: tlk.text_regressor(it, (0, 5)),
    "few_shot_classifier": lambda it: tlk.few_shot_classifier(it, FEW),
    "advise": lambda it: tlk.advise(FEW, it),
}
WANTS_MODEL = {
    "bi_encoder": tlk.bi_encoder,
    "batches": lambda it: tlk.batches(it, FEW),
    "set_transfer": lambda it: tlk.set_transfer(it, "freeze"),
    "describe": tlk.describe,
    "encoder_of": tlk.encoder_of,
    "cache_features": lambda it: tlk.cache_features(it, FEW),
    "export": lambda it: tlk.export(it, "never/1"),
    "predict": lambda it: tlk.predict(it, ["good"]),
    "evaluate": lambda it: tlk.evaluate(it, FEW),
    "explain": lambda it: tlk.explain(it, "good"),
    "encode": lambda it: tlk.encode(it, ["good"]),
    "TextIndex.build": lambda it: tlk.TextIndex.build(it, ["good"]),
}
WANTS_PATH = {
    "load_encoder": tlk.load_encoder,
    "load_model": tlk.load_model,
    "load_exported": tlk.load_exported,
    "convert": lambda it: tlk.convert(it, "never"),
    "compress": lambda it: tlk.compress(it, "never"),
    "fill_mask": lambda it: tlk.fill_mask(it, "a [MASK]"),
    "read_table": tlk.read_table,
    "read_tagged": tlk.read_tagged,
    "read_squad": tlk.read_squad,
}
CALLS = [(name, call) for calls in (WANTS_ENCODER, WANTS_MODEL, WANTS_PATH) for name, call in calls.items()]


@pytest.fixture(scope="module")
def plain():
    """A model without an encoder."""
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
def test_something_else_is_refused_in_one_line(name, call, plain, encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = [None, 3, FEW, plain]
    if (name in WANTS_MODEL and name not in ("batches", "encode")) or (name in WANTS_PATH and name != "fill_mask"):
        wrong.append(encoder)
    for thing in wrong:
        with pytest.raises(tlk.UserError) as refused:
            call(thing)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) > 20
    assert list(tmp_path.iterdir()) == []
