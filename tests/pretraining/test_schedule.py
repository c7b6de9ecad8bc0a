from __future__ import annotations

import pytest

from tl_keras.errors import UserError
from tl_keras.pretraining.run_files import Clock
from tl_keras.pretraining.schedule import Schedule, parse_lengths

pytestmark = pytest.mark.one_keras


def test_rate_by_steps():
    schedule = Schedule(steps=1000, peak_learning_rate=2e-3, warmup_steps=100)
    assert schedule.learning_rate(0, 0) == pytest.approx(2e-5)
    assert schedule.learning_rate(49, 0) == pytest.approx(1e-3)
    assert schedule.learning_rate(500, 1e9) == pytest.approx(1e-3)  # half way, whatever the clock says
    assert schedule.learning_rate(999, 0) == pytest.approx(2e-6)
    assert not schedule.done(999, 1e9)
    assert schedule.done(1000, 0)
    assert schedule.seconds_left(900, 0, seconds_per_step=0.5) == pytest.approx(50)


def test_a_pause_is_no_training_time():
    times = iter([0.0, 9.0, 10.0, 11.0, 12.0, 612.0, 613.0])
    clock = Clock(100.0, now=lambda: next(times))
    assert [clock.tick() for _ in range(4)] == [109.0, 110.0, 111.0, 112.0]
    usual = ((9 * 0.8 + 0.2) * 0.8 + 0.2) * 0.8 + 0.2  # what a step took so far, old ones fading
    assert clock.tick() == pytest.approx(112 + usual)
    assert clock.tick() == pytest.approx(113 + usual)


def test_rate_by_time():
    schedule = Schedule(minutes=10, peak_learning_rate=1.0, warmup_steps=10)
    assert schedule.learning_rate(400, 300) == pytest.approx(0.5)
    assert schedule.learning_rate(401, 540) == pytest.approx(0.1)
    assert schedule.done(402, 600)
    assert not schedule.done(402, 599)
    assert schedule.seconds_left(401, 540, 99) == pytest.approx(60)


def test_lengths_change_with_progress():
    schedule = Schedule(steps=100, lengths=parse_lengths("32@0.5,64@0.9,128@1"))
    assert [schedule.row_length(step, 0) for step in (0, 49, 50, 89, 90, 100)] == [32, 32, 64, 64, 128, 128]
    assert schedule.longest == 128


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "either"),
        ({"steps": 1, "minutes": 1}, "either"),
        ({"steps": 0}, "greater than 0"),
        ({"steps": 9, "lengths": ((0.5, 64),)}, "the last one must be 1"),
        ({"steps": 9, "lengths": ((0.9, 64), (0.5, 32), (1.0, 16))}, "must rise"),
    ],
)
def test_impossible_schedules(options, reason):
    with pytest.raises(UserError, match=reason):
        Schedule(**options)
    with pytest.raises(UserError, match="LENGTH@FRACTION"):
        parse_lengths("64@x")
