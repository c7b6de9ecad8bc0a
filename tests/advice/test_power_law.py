"""Fits recover known curves, and ranges hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from tl_keras.advice.power_law import fit_power_law, forecast

pytestmark = pytest.mark.one_keras

SIZES = [100, 200, 400, 800]


@pytest.mark.parametrize(("floor", "scale", "rate"), [(0.1, 2.0, 0.5), (0.0, 0.9, 0.2), (0.25, 5.0, 1.0)])
def test_a_known_curve_is_recovered(floor, scale, rate):
    law = fit_power_law(SIZES, [floor + scale * n**-rate for n in SIZES])
    assert (law.floor, law.scale, law.rate) == pytest.approx((floor, scale, rate), abs=5e-3)
    assert law.error(6400) == pytest.approx(floor + scale * 6400**-rate, abs=1e-4)


def test_without_a_floor():
    law = fit_power_law(SIZES, [0.9 * n**-0.2 for n in SIZES], floor=False)
    assert (law.floor, law.scale, law.rate) == pytest.approx((0.0, 0.9, 0.2), abs=2e-3)
    # Nothing is left in the end, whatever the points say.
    assert fit_power_law(SIZES, [0.1 + 2.0 * n**-0.5 for n in SIZES], floor=False).floor == 0.0


def test_bounds():
    flat = fit_power_law(SIZES, [0.3, 0.3, 0.3, 0.3])
    assert float(flat.error(10_000)) == pytest.approx(0.3, abs=1e-6)
    # Errors that rise with more labels are luck: the mean is the forecast, not a curve that rises for ever.
    assert float(fit_power_law(SIZES, [0.2, 0.25, 0.3, 0.35]).error(10_000)) == pytest.approx(0.275)
    # A straight fall would cross zero soon; no error is below it.
    steep = fit_power_law(SIZES, [0.4, 0.28, 0.14, 0.01])
    assert steep.floor == 0.0
    assert 0.0 <= float(steep.error(100_000)) < 0.01


def test_the_range_holds_the_truth_about_four_times_in_five():
    """Repeats drawn around a known curve, 400 texts scored: the binomial luck and that of the repeats are all there is."""
    rng = np.random.default_rng(5)
    truth = 0.1 + 1.5 * np.array(SIZES) ** -0.5
    held, widths = 0, []
    for trial in range(30):
        errors = rng.normal(truth[:, np.newaxis], 0.02, (4, 5))
        entry = forecast(SIZES, errors, [800, 3200], texts=400, seed=trial)
        held += entry[0].low <= 1 - truth[-1] <= entry[0].high
        widths.append([one.high - one.low for one in entry])
        assert all(one.low <= one.accuracy <= one.high for one in entry)
    assert held >= 24  # 80 % of 30
    near, far = np.mean(widths, axis=0)
    # At least the luck of 400 texts: 2 x 1.28 standard deviations.
    assert near > 2 * 1.28 * (truth[-1] * (1 - truth[-1]) / 400) ** 0.5
    assert far > near
