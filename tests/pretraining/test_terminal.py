"""Pre-training on the terminal: a signal ends it with a checkpoint, a word on how to go on, and a code that says so."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest

from tl_keras.cli.commands import progress_line, train_or_stop
from tl_keras.pretraining.run_files import Report

pytestmark = pytest.mark.one_keras


class Training:
    """Trains until asked to stop; a signal may come in its third step."""

    def __init__(self, number: int | None = None):
        self.settings = SimpleNamespace(out="models/mine")
        self.trainer = SimpleNamespace(stop_requested=False, step=0)
        self.number = number

    def run(self) -> bool:
        while self.trainer.step < 5 and not self.trainer.stop_requested:
            self.trainer.step += 1
            if self.number and self.trainer.step == 3:
                os.kill(os.getpid(), self.number)
        return self.trainer.step == 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_no_success(capsys, number, code):
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as end:
        train_or_stop(Training(number))
    assert end.value.code == code
    assert capsys.readouterr().err == "stopped at step 3; go on with --out models/mine --resume\n"
    assert signal.getsignal(number) is handler


def test_the_end_says_nothing(capsys):
    train_or_stop(Training())
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_one_line_of_progress(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    assert progress_line() is None  # nobody looks
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    show = progress_line()
    show(Report(50, 0.25, 3725.0, 1234.5, {"mlm_loss": 2.5, "rate": 1.0}))
    show(Report(200, 1.0, 0.0, 1000.0, {}))
    first, second = capsys.readouterr().err.split("\r")[1:]
    # A quarter of twenty signs, and of the time left an hour, two minutes and five seconds; only losses are named.
    assert first.strip() == "[#####...............]  25% step 50 1,234 tokens/s 1:02:05 left, mlm 2.50"
    assert second.startswith("[####################] 100% step 200 1,000 tokens/s 0:00:00 left")
    assert second.endswith("\n")
