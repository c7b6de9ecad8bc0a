"""What the server is made of: batches across clients, bodies, names, settings."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tl_keras import UserError
from tl_keras.serving.http.options import ServerSettings, bind, named

pytestmark = pytest.mark.one_keras

pytest.importorskip("starlette", reason="the server needs the extra `serve`")
pytest.importorskip("orjson", reason="the server needs the extra `serve`")


def run_all(function, requests, *, size=4, delay=0.05, parallel=1):
    """The answers (or errors) to columns that arrive in the same moment, and the sizes of the batches."""
    from tl_keras.serving.http.scheduler import Scheduler

    batches = []

    async def main():
        with ThreadPoolExecutor(parallel) as executor:
            scheduler = Scheduler(executor, size, delay, parallel, lambda rows, seconds: batches.append(rows))
            asked = [scheduler.run("f", function, columns) for columns in requests]
            return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(main()), batches


def doubled(columns):
    return {"y": columns["x"] * 2}


def test_rows_of_several_clients_share_batches_and_each_gets_its_own():
    requests = [{"x": np.arange(n) + 10 * n} for n in (1, 2, 1, 3, 1, 1)]
    answers, batches = run_all(doubled, requests)
    for columns, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], columns["x"] * 2)
    # In the order of arrival, never above 4: 1 + 2 + 1, 3 + 1, 1 (which waits in vain for company).
    assert batches == [4, 4, 1]


def test_a_bad_row_fails_alone():
    def picky(columns):
        if (columns["x"] < 0).any():
            raise ValueError("negative")
        return doubled(columns)

    answers, _ = run_all(picky, [{"x": np.array([1])}, {"x": np.array([-1])}, {"x": np.array([3])}])
    assert [answers[0]["y"].tolist(), answers[2]["y"].tolist()] == [[2], [6]]
    assert str(answers[1]) == "negative"


def test_rows_of_other_shapes_do_not_meet():
    requests = [{"x": np.zeros((1, 3))}, {"x": np.ones((1, 5))}, {"x": np.zeros((1, 5))}]
    answers, batches = run_all(doubled, requests)
    assert [answer["y"].shape for answer in answers] == [(1, 3), (1, 5), (1, 5)]
    assert batches == [1, 2]


def test_a_busy_model_does_not_starve_another():
    from tl_keras.serving.http.scheduler import Scheduler

    order = []

    async def main():
        with ThreadPoolExecutor(1) as executor:
            scheduler = Scheduler(executor, 1, 0.0, 1)

            def remember(name):
                return lambda columns: order.append(name) or columns

            busy, rare, row = remember("busy"), remember("rare"), {"x": np.zeros(1)}
            await asyncio.gather(
                *(scheduler.run("busy", busy, row) for _ in range(6)),
                *(scheduler.run("rare", rare, row) for _ in range(2)),
            )

    asyncio.run(main())
    # The first went off before the rare ones came; from then on in turn.
    assert order == ["busy", "busy", "rare", "busy", "rare", "busy", "busy", "busy"]


def test_metrics_tell_the_versions_that_are_served_now():
    pytest.importorskip("prometheus_client", reason="the server needs the extra `serve`")
    from tl_keras.serving.http.scheduler import Metrics

    served = {"reviews": 3}
    metrics = Metrics(lambda: 7, lambda: served)
    assert {'tl_keras_model_version{model="reviews"} 3.0', "tl_keras_waiting_rows 7.0"} <= set(
        metrics.text().decode().splitlines()
    )
    served["reviews"] = 4
    assert 'tl_keras_model_version{model="reviews"} 4.0' in metrics.text().decode().splitlines()


def test_names_of_models(tmp_path):
    for folder in ("runs/reviews/saved_model/1", "models/tags/3", "other/reviews/1"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "saved_model.pb").touch()
    run, tags, other = (str(tmp_path / name) for name in ("runs/reviews", "models/tags/3", "other/reviews"))
    assert list(named([run, tags], [])) == ["reviews", "tags"]
    assert list(named([run, other], ["a", "b"])) == ["a", "b"]
    for runs, names, message in (
        ([run, other], [], "two models are called 'reviews'"),
        ([run, tags], ["a"], "--name is given 1 times for 2 models"),
        ([run], ["a/b"], "'a/b' cannot be a model's name"),
        ([str(tmp_path / "nowhere")], [], "there is no folder"),
        ([str(tmp_path)], [], "holds no SavedModel"),
    ):
        with pytest.raises(UserError, match=message):
            named(runs, names)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_rows", 0, "--max-rows must be at least 1"),
        ("batch_delay_ms", -1.0, "--batch-delay-ms must be at least 0"),
        ("batch_delay_ms", float("inf"), "--batch-delay-ms"),
        ("timeout", float("nan"), "--timeout must be above 0"),
        ("poll", 0.0, "--poll must be above 0"),
        ("max_queue", 5, "--max-queue 5 is below --max-rows 10000"),
    ],
)
def test_settings_out_of_range(name, value, message):
    with pytest.raises(UserError, match=message):
        ServerSettings(**{name: value})


def test_addresses_that_cannot_be_had(call, tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UserError, match=r"port \d+ is in use; choose another with --port"),
    ):
        bind("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="--port must be 0 to 65535, not 70000"):
        bind("127.0.0.1", 70000)
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1"):  # an address of nobody's (RFC 5737)
        bind("192.0.2.1", 0)
    # From the command line: one line, exit code 2.
    code, _, err = call("serve", tmp_path / "nowhere")
    assert (code, err.count("\n"), "there is no folder" in err) == (2, 1, True)


def test_the_kubernetes_file_starts_the_server_with_options_that_there_are():
    yaml = pytest.importorskip("yaml")
    import typer

    from tl_keras.cli.app import app

    text = (Path(__file__).resolve().parents[2] / "deploy" / "serving.yaml").read_text("utf-8")
    deployment, service = yaml.safe_load_all(text)
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    program, command, *arguments = container["command"]
    assert program == "tl-keras"
    # Read as the command line reads them, without running it.
    with typer.main.get_command(app).commands[command].make_context(command, arguments) as context:
        asked = context.params
    assert (asked["host"], asked["port"]) == ("0.0.0.0", 8501)
    assert asked["timeout"] < pod["spec"]["terminationGracePeriodSeconds"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": asked["port"]}
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert service["spec"]["ports"][0]["targetPort"] == asked["port"]
