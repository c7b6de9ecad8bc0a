"""A server in a process of its own, asked over the wire, as TensorFlow Serving is asked.

The models are a few operations each: what is looked at is the server. One is a real export.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tl_keras import export, predict, text_classifier

pytestmark = pytest.mark.one_keras

for _package in ("starlette", "uvicorn", "orjson", "prometheus_client"):
    pytest.importorskip(_package, reason="the server needs the extra `serve`")

# Serving needs nothing of this package that touches Keras: what cannot be imported, nobody can use.
SERVER = """
import sys
for name in ("_keras", "models", "features"):
    sys.modules["tl_keras." + name] = None
from tl_keras.cli.app import main
main()
"""
LIMITS = ["--max-rows", "200", "--max-queue", "200", "--max-body-mb", "0.1", "--timeout", "3", "--max-batch-size", "16"]
FLOATS = [tf.TensorSpec([None], tf.float32, "x")]
TEXTS = [tf.TensorSpec([None], tf.string, "text")]


def save(folder, function, signature, **more):
    """A SavedModel of a function, with more functions beside it."""
    module = tf.Module()
    module.serve = tf.function(function, input_signature=signature)
    for name, value in more.items():
        setattr(module, name, tf.function(value, input_signature=[]))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})


def slow(x):
    end = tf.timestamp() + 0.4
    tf.while_loop(lambda: tf.timestamp() < end, lambda: (), [])
    return {"y": x}


def spans(text):
    """As many spans as there are words, padded as taggers pad."""
    words = tf.strings.split(text)
    return {
        "starts": tf.ragged.range(words.row_lengths()).to_tensor(-1),
        "labels": words.to_tensor(""),
        "count": tf.cast(words.row_lengths(), tf.int32),
    }


class Asker:
    """A client of the server."""

    def __init__(self, port: int, process: subprocess.Popen):
        self.port, self.process = port, process

    def __call__(self, path, body=None, timeout=60):
        """Status and answer: parsed where it is JSON."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as connection:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            connection.request("GET" if body is None else "POST", path, body)
            response = connection.getresponse()
            content = response.read()
            parsed = json.loads(content) if response.headers["content-type"] == "application/json" else content.decode()
            return response.status, parsed

    def count(self, name: str) -> float:
        """A figure of `/metrics`."""
        return float(re.search(rf"^{re.escape(name)} (\S+)$", self("/metrics")[1], re.MULTILINE)[1])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save(folder / "half_plus_three" / "123", lambda x: {"y": x / 2 + 3}, FLOATS)
    save(folder / "switched" / "1", lambda x: {"y": x + 1}, FLOATS)
    save(folder / "slow" / "1", slow, FLOATS)
    save(folder / "spans" / "1", spans, TEXTS)
    return folder


@pytest.fixture(scope="module")
def classifier(models, tiny_pair, reviews):
    from tl_keras import load_encoder

    encoder = load_encoder(str(tiny_pair), seq_length=32)
    model = text_classifier(encoder, reviews.classes, transfer="freeze")
    export(model, models / "reviews" / "1")
    return model


@pytest.fixture(scope="module")
def ask(models, classifier):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    names = ["half_plus_three", "switched", "slow", "spans", "reviews"]
    command = [sys.executable, "-c", SERVER, "serve", *(str(models / name) for name in names), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--poll", "0.1", "--batch-delay-ms", "5", *LIMITS], stderr=subprocess.PIPE, text=True
    )
    ask, end = Asker(port, process), time.time() + 120
    while True:
        with contextlib.suppress(ConnectionError):
            assert ask("/healthz")[0] == 200
            break
        assert process.poll() is None, process.stderr.read()
        assert time.time() < end, "the server does not begin"
        time.sleep(0.1)
    yield ask
    process.kill()
    process.wait()
    process.stderr.close()


def test_the_examples_of_tensorflow_servings_page(ask):
    """https://www.tensorflow.org/tfx/serving/api_rest, word for word."""
    assert ask("/v1/models/half_plus_three") == (
        200,
        {
            "model_version_status": [
                {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        },
    )
    row = ask("/v1/models/half_plus_three:predict", {"instances": [1.0, 2.0, 5.0]})
    assert row == (200, {"predictions": [3.5, 4.0, 5.5]})
    assert ask("/v1/models/half_plus_three/versions/123:predict", {"inputs": {"x": [1, 2]}}) == (
        200,
        {"outputs": [3.5, 4.0]},
    )
    assert ask("/v1/models/half:predict", {"instances": [1.0, 5.0]}) == (
        404,
        {"error": "Servable not found for request: Latest(half)"},
    )
    assert ask("/v1/models/half_plus_three/versions/1")[0] == 404
    metadata = ask("/v1/models/half_plus_three/metadata")[1]
    assert metadata["model_spec"] == {"name": "half_plus_three", "signature_name": "", "version": "123"}
    definition = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    assert definition["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
        "name": "serving_default_x:0",
    }


def test_an_export_gives_what_predict_gives(ask, classifier, reviews):
    texts = [*reviews.texts[:40].tolist(), "", "영화 재미있다 👩‍👧 \x00", "the film " * 300]
    expected = predict(classifier, texts, all_scores=True)
    # More rows than go through together: they come back in their order.
    status, answer = ask("/v1/models/reviews:predict", {"instances": [{"text": text} for text in texts]})
    assert status == 200
    assert [row["label"] for row in answer["predictions"]] == expected.label.tolist()
    np.testing.assert_allclose([row["score"] for row in answer["predictions"]], expected.score, atol=1e-5)
    columns = ask("/v1/models/reviews:predict", {"inputs": texts})[1]["outputs"]
    assert sorted(columns) == ["label", "score", "scores"]
    np.testing.assert_allclose(np.array(columns["scores"])[:, 1], expected.score_positive, atol=1e-5)
    classified = ask("/v1/models/reviews:classify", {"examples": [{"text": texts[0]}, {"text": [texts[1]]}]})[1]
    names = [[name for name, _ in row] for row in classified["results"]]
    assert names == [["negative", "positive"]] * 2
    np.testing.assert_allclose([row[1][1] for row in classified["results"]], expected.score_positive[:2], atol=1e-5)


def test_spans_do_not_depend_on_who_shared_the_batch(ask):
    texts = ["a b", "one two three four five", "x"] * 10
    alone = [ask("/v1/models/spans:predict", {"instances": [text]})[1]["predictions"][0] for text in texts[:3]]
    assert [row["starts"] for row in alone] == [[0, 1], [0, 1, 2, 3, 4], [0]]
    # Together they go through in batches of 16 of like length, and are padded to the widest of the request.
    rows = ask("/v1/models/spans:predict", {"instances": texts})[1]["predictions"]
    assert [row["labels"] for row in rows[:3]] == [
        ["a", "b", "", "", ""],
        ["one", "two", "three", "four", "five"],
        ["x", "", "", "", ""],
    ]
    assert rows[:3] * 10 == rows


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("reviews:predict", b"\x00garbage", 400, "the body is not JSON"),
        ("reviews:predict", b"[1]", 400, "must be a JSON object"),
        ("reviews:predict", {"instances": ["a"], "inputs": ["a"]}, 400, "either 'instances'"),
        ("reviews:predict", {"instances": []}, 400, "no rows"),
        ("reviews:predict", {"instances": "a"}, 400, "'instances' must be a list"),
        ("reviews:predict", {"instances": ["a", 2]}, 400, "'text': row 1 is a number, not a string"),
        ("reviews:predict", {"instances": [{"text": "a"}, "b"]}, 400, "entry 1 is no object"),
        ("reviews:predict", {"instances": [{"txt": "a"}]}, 400, "there is no input 'txt'; the model takes text"),
        ("reviews:predict", {"inputs": {"text": "a"}}, 400, "'text' must be a list"),
        ("reviews:predict", {"inputs": {}}, 400, "'text' is missing"),
        ("reviews:predict", {"signature_name": "x", "instances": ["a"]}, 400, "no signature 'x'"),
        ("reviews:predict", {"instances": ["a"] * 201}, 400, "201 rows are more than the 200"),
        ("reviews:predict", {"instances": ["x" * 200_000]}, 413, "larger than the 0.1 MiB"),
        ("reviews:regress", {"examples": [{"text": "a"}]}, 400, "no regressor"),
        ("reviews:classify", {"examples": [{"text": "a"}], "context": {"text": "b"}}, 400, "'context' has too"),
        ("half_plus_three:predict", {"instances": ["1.0"]}, 400, "must be of type float32"),
        ("half_plus_three:predict", {"instances": [[1.0], [2.0, 3.0]]}, 400, "differ in shape"),
        ("half_plus_three:predict", {"instances": [[1.0]]}, 400, "the model wants"),
        ("half_plus_three:classify", {"examples": [{"x": 1.0}]}, 400, "no classifier"),
        ("reviews:guess", {"instances": ["a"]}, 404, "no method 'guess'"),
        ("reviews/versions/x:predict", {"instances": ["a"]}, 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered_is_told(ask, path, body, status, message):
    found, answer = ask(f"/v1/models/{path}", body)
    assert (found, list(answer)) == (status, ["error"])
    assert message in answer["error"]


def test_rude_clients_hurt_nobody(ask):
    """A client that goes away, one that sends no HTTP, one that stops in the middle, and a queue that is full."""

    def connect(text: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", ask.port), timeout=30)
        connection.sendall(text)
        return connection

    head = b"POST /v1/models/%s:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    body = json.dumps({"instances": [1.0] * 150}).encode()
    connect(head % (b"slow", len(body)) + body).close()
    with (
        connect(b"\x16\x03\x01 this is no HTTP\r\n\r\n") as garbage,
        connect(head % (b"half_plus_three", 1000) + b'{"inst') as slowly,
    ):
        assert b"400" in garbage.recv(100)
        assert ask("/v1/models/half_plus_three:predict", {"instances": [1.0]}, timeout=10)[0] == 200
        begin = time.time()
        assert b"408" in slowly.recv(100)
        assert time.time() - begin < 10

    # 150 rows are computed slowly, so that 100 more are above the limit of 200.
    status = []
    asking = threading.Thread(
        target=lambda: status.append(ask("/v1/models/slow:predict", {"instances": [0.0] * 150})[0])
    )
    asking.start()
    end = time.time() + 60
    while ask.count("tl_keras_waiting_rows") < 150:
        assert time.time() < end
        time.sleep(0.01)
    refused, answer = ask("/v1/models/half_plus_three:predict", {"instances": [1.0] * 100})
    assert (refused, "Try again later" in answer["error"]) == (503, True)
    # Small requests find room between the parts of a large one.
    assert ask("/v1/models/half_plus_three:predict", {"instances": [1.0]}, timeout=10)[0] == 200
    asking.join()
    assert status == [200]
    assert ask.count("tl_keras_waiting_rows") == 0


def test_versions_switch_without_a_lost_request(ask, models):
    folder, answers, stop = models / "switched", [], threading.Event()

    def client(found: list):
        while not stop.is_set():
            status, answer = ask("/v1/models/switched:predict", {"instances": [0.0]})
            found.append(answer["predictions"][0] if status == 200 else f"{status}: {answer}")

    def wait_for(state: str, version: str = "2"):
        end = time.time() + 60
        while True:
            told = ask("/v1/models/switched")[1]["model_version_status"]
            if any((one["version"], one["state"]) == (version, state) for one in told):
                return told
            assert time.time() < end, told
            time.sleep(0.05)

    clients = []
    for _ in range(3):
        answers.append([])
        clients.append(threading.Thread(target=client, args=(answers[-1],)))
        clients[-1].start()
    try:
        # A version that is not there yet in full is told of, and does not end the one before.
        (folder / "2").mkdir()
        (folder / "2" / "saved_model.pb").write_bytes(b"half")
        told = wait_for("END")
        assert "cannot be loaded" in told[0]["status"]["error_message"]
        assert (told[1]["version"], told[1]["state"]) == ("1", "AVAILABLE")
        shutil.rmtree(folder / "2")
        save(models / "beside", lambda x: {"y": x + 2}, FLOATS)
        (models / "beside").rename(folder / "2")
        wait_for("AVAILABLE")
        wait_for("END", "1")
        time.sleep(0.2)
        # Back, by taking it away.
        shutil.rmtree(folder / "2")
        wait_for("AVAILABLE", "1")
        wait_for("END")
        time.sleep(0.2)
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    for found in answers:
        changes = [found[0]] + [b for a, b in itertools.pairwise(found) if a != b]
        assert changes == [1.0, 2.0, 1.0]
    assert ask("/healthz")[1]["models"]["switched"] == 1


def test_sigterm_answers_what_is_under_way_and_ends_with_0(ask):
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask("/v1/models/slow:predict", {"instances": [7.0]})))
    asking.start()
    end = time.time() + 30
    while ask.count("tl_keras_waiting_rows") < 1:
        assert time.time() < end
        time.sleep(0.01)
    os.kill(ask.process.pid, signal.SIGTERM)
    asking.join()
    assert answers == [(200, {"predictions": [7.0]})]
    assert ask.process.wait(timeout=30) == 0
    assert "Traceback" not in ask.process.stderr.read()
    with pytest.raises(ConnectionError):
        ask("/healthz")
