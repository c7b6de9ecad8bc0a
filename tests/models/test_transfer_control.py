"""What learns in a model: chosen in the builder, changed afterwards, thawed during `fit`, kept in files."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tl_keras import UserError, load_model, text_classifier
from tl_keras._keras import keras
from tl_keras.encoders.transfer_plan import Transfer, parse_lr_multipliers
from tl_keras.models.pair_builders import bi_encoder, sentence_encoder
from tl_keras.models.transfer_control import describe, set_transfer
from tl_keras.training.optimizer import make_optimizer

PARTS = ["embeddings", "block 0", "block 1", "block 2", "pooler", "head"]


def values(model) -> dict[str, list[np.ndarray]]:
    """Copies of the weights by part."""
    layer = model.get_layer("encoder")
    found = {name: [w.numpy() for w in weights] for name, weights in layer.part_weights().items()}
    return {**found, "head": [w.numpy() for w in model.get_layer("logits").weights]}


def moved(before, after) -> list[str]:
    return [
        name for name in before if any(not np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True))
    ]


def test_the_top_block_only(stack, reviews):
    model = text_classifier(stack, reviews.classes, "top-1", learning_rate=0.01)
    rows = {row.part: row for row in describe(model).rows}
    assert list(rows) == PARTS
    assert [name for name, row in rows.items() if row.trainable] == ["block 2", "pooler", "head"]
    assert (rows["block 1"].parameters, rows["head"].parameters) == (2 * 8 * 8 + 8, 2 * 8 + 2)
    assert [row.multiplier for row in rows.values()] == [0, 0, 0, 1, 1, 1]
    # Frozen as a whole and set free again, in Keras's own way, the lower blocks stay frozen.
    model.trainable = False
    model.trainable = True
    assert len(model.trainable_weights) == 3 + 1 + 2
    assert len(model.weights) == 12 + 2
    set_transfer(model, "fine-tune")
    assert len(model.trainable_weights) == 12 + 2
    set_transfer(model, "freeze")
    assert len(model.trainable_weights) == 2
    assert model.optimizer._learning_rate.peak == 5e-3
    before = values(model)
    model.fit(stack.batches(reviews, training=True), epochs=1, verbose=0)
    assert moved(before, values(model)) == ["head"]


class Watch(keras.callbacks.Callback):
    """Keeps each epoch's weights and multipliers, and counts how often the step was traced."""

    def __init__(self):
        super().__init__()
        self.values, self.multipliers, self.functions = [], [], set()

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(values(self.model))
        self.multipliers.append(self.model.optimizer.multipliers())
        self.functions.add(id(self.model.train_function))


def test_gradual_unfreezing_in_one_fit(stack, reviews, tmp_path):
    plan = Transfer("gradual", lr_multipliers={"embeddings": 0.5})
    model = text_classifier(stack, reviews.classes, plan, learning_rate=0.01)
    start, watch = values(model), Watch()
    batches = stack.batches(reviews, training=True, batch_size=32)
    model.fit(batches, epochs=4, callbacks=[watch], verbose=0)
    states = [start, *watch.values]
    steps = [moved(a, b) for a, b in itertools.pairwise(states)]
    assert steps == [["head"], ["block 2", "pooler", "head"], ["block 1", "block 2", "pooler", "head"], PARTS[1:]]
    assert len(watch.functions) == 1
    # Saved in the middle and loaded: what is frozen still is, and is unfrozen later.
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    assert [row.multiplier for row in describe(loaded).rows] == [0, 1, 1, 1, 1, 1]
    before = values(loaded)
    loaded.fit(batches, epochs=5, initial_epoch=4, verbose=0)
    assert moved(before, values(loaded)) == PARTS
    assert [row.multiplier for row in describe(loaded).rows] == [0.5, 1, 1, 1, 1, 1]
    # A further fit counts its epochs from 0; nothing is frozen again.
    loaded.fit(batches, epochs=1, verbose=0)
    assert loaded.optimizer.multipliers()["embeddings"] == 0.5


def test_gradual_begins_at_the_head_where_no_optimizer_says_so(stack):
    model = text_classifier(stack, ["a", "b"], Transfer("gradual", lr_multipliers={"head": 3.0}))
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert [row.multiplier for row in describe(model).rows] == [0, 0, 0, 0, 0, 3]


def test_gradual_unfreezing_by_steps_under_a_strategy(stacks, tiny_pair):
    command = [sys.executable, str(Path(__file__).with_name("gradual_mirrored.py")), stacks["plain"][0], tiny_pair]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout
    result = json.loads(out.strip().splitlines()[-1])
    assert result["replicas"] == 2
    # Steps 0 and 1 move the head; 2 and 3 the top block too; then it ends.
    assert result["moved"] == ["block 1", "pooler", "head"]
    assert result["unfrozen_at"] == {"embeddings": -1, "block 0": -1, "block 1": 2, "pooler": 2, "head": 0}


def test_layer_decay_and_rates_reach_the_optimizer(stack, vocabulary):
    plan = Transfer(layer_decay=0.5, lr_multipliers={"embeddings": 0.3, "block 2": 2})
    model = text_classifier(stack, ["a", "b"], plan)
    # Width 8: the encoder's rate is 5e-4, and the new head's 5e-3.
    expected = [0.3, 0.25, 0.5, 2.0, 1.0, 10.0]
    assert list(model.optimizer.multipliers().values()) == pytest.approx(expected)
    assert [row.multiplier for row in describe(model).rows] == pytest.approx(expected)
    table = str(describe(model)).splitlines()
    assert table[2].split() == ["embeddings", f"{(len(vocabulary) + 64) * 8:,}", "yes", "x", "0.3"]
    assert table[-1].split()[1:] == [f"{sum(row.parameters for row in describe(model).rows):,}"] * 2
    # The user's own compile with our optimizer keeps them; another optimizer is refused.
    model.compile(make_optimizer(0.1), "sparse_categorical_crossentropy")
    model.make_train_function()
    # At so high a rate the head needs none of its own.
    assert list(model.optimizer.multipliers().values()) == pytest.approx([*expected[:-1], 1.0])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(UserError, match="need this package's optimizer"):
        model.make_train_function(force=True)


def test_a_new_linear_head_learns_faster_and_other_heads_do_not(stack, reviews):
    def head(model):
        return model.optimizer.multipliers().get("head", 1.0)

    assert head(text_classifier(stack, ["a", "b"], learning_rate=1e-4)) == pytest.approx(20.0)
    assert head(text_classifier(stack, ["a", "b"], Transfer(lr_multipliers={"head": 3.0}))) == pytest.approx(3.0)
    for model in (
        text_classifier(stack, ["a", "b"], "freeze"),
        text_classifier(stack, ["a", "b"], hidden=4),
        set_transfer(text_classifier(stack, ["a", "b"], "freeze"), "fine-tune"),  # trained already
    ):
        assert head(model) == pytest.approx(1.0)
    # The first step of Adam moves every weight by its rate: the head's twenty times as far as the encoder's.
    model = text_classifier(stack, reviews.classes, dropout=0.0, learning_rate=1e-4)
    before = model.get_layer("logits").kernel.numpy()
    model.optimizer.weight_decay = 0.0
    model.fit(stack.batches(reviews, training=True, batch_size=64), epochs=1, verbose=0)
    moves = np.abs(model.get_layer("logits").kernel.numpy() - before)
    assert np.median(moves) == pytest.approx(20 * 1e-4, rel=0.02)
    # The user's own optimizer is no error: it moves all alike.
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(stack.batches(reviews), epochs=1, verbose=0)


def test_towers_share_the_plan_of_their_encoder(stack):
    towers = bi_encoder(sentence_encoder(stack, Transfer("top-2", layer_decay=0.5)))
    assert [row.multiplier for row in describe(towers).rows] == [0, 0, 0.5, 1, 1, 0]
    assert towers.optimizer.group_names == ("block 1", "block 2", "pooler", "head")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "top-4", "3 blocks, not 4"),
        (lambda: "top-0", "choose one of: freeze, fine-tune, top-K"),
        (lambda: Transfer(lr_multipliers={"layer 1": 0.1}), "no part of the model is called 'layer 1'"),
        (lambda: Transfer("top-1", lr_multipliers={"embeddings": 0.1}), "freezes embeddings"),
        (lambda: Transfer("freeze", layer_decay=0.5), "says nothing where the encoder is frozen"),
        (lambda: Transfer(layer_decay=0), "above 0"),
        (lambda: Transfer(lr_multipliers={"head": -1}), "0 or more"),
        (lambda: Transfer("gradual", unfreeze_every="2 days"), "no interval"),
        (lambda: Transfer("top-1", unfreeze_every=2), "is for transfer=\"gradual\""),
        (lambda: Transfer(lr_multipliers=parse_lr_multipliers(["embeddings"])), "PART=FACTOR"),
    ],
)  # fmt: skip
def test_wrong_plans(stack, make, message):
    with pytest.raises(UserError, match=message):
        text_classifier(stack, ["a", "b"], make())
