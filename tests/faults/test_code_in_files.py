"""No file that is loaded runs code of its own, unless that is asked for."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from tl_keras import UserError, load_model
from tl_keras._keras import keras


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A `.keras` file without anything of ours."""
    path = tmp_path_factory.mktemp("keras") / "plain.keras"
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Dense(1, activation="tanh")(inputs)).save(path)
    return path


def changed(source, target, change):
    """A copy of a `.keras` file whose configuration somebody has changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense"))
                content = json.dumps(config)
            new.writestr(name, content)
    return target


def foreign(layer):
    layer.update(module="subprocess", class_name="Popen", registered_name="Popen", config={"args": ["touch", "RAN"]})


def builtin(layer):
    layer["config"]["activation"] = {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "function",
    }


def test_a_plain_file_loads(saved):
    assert load_model(saved).count_params() == 3


@pytest.mark.parametrize(("change", "message"), [(foreign, "subprocess.Popen"), (builtin, "brings code of its own")])
def test_named_code_is_not_imported(saved, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    path = changed(saved, tmp_path / "changed.keras", change)
    with pytest.raises(UserError, match=message):
        load_model(path)
    assert not (tmp_path / "RAN").exists()


def test_a_lambda_runs_only_when_it_may(tmp_path):
    path = tmp_path / "lambda.keras"
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2, output_shape=(2,))(inputs)).save(path)
    with pytest.raises(UserError, match="unsafe=True"):
        load_model(path)
    assert load_model(path, unsafe=True)(np.ones((1, 2), "float32")).numpy().tolist() == [[2.0, 2.0]]


def test_what_is_no_keras_file_is_said_in_a_line(tmp_path):
    (tmp_path / "old.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match=r"no whole \.keras file") as error:
        load_model(tmp_path / "old.h5")
    assert "\n" not in str(error.value)
