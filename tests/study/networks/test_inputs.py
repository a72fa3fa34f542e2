import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.study.networks import inputs
from hitfinder.study.networks.recipe import InputConfig


@pytest.fixture
def water():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.poisson(40.0, (3, 1, 20, 30)).astype("u2"))


def test_variance_brings_each_frame_to_mean_0_and_variance_1(water):
    x = inputs.prepare(water, InputConfig("sqrt", "variance"))
    assert x.mean(dim=(1, 2, 3)).abs().max() < 1e-5
    assert x.std(dim=(1, 2, 3)).numpy() == pytest.approx(np.ones(3), abs=1e-5)


def test_the_mean_takes_away_flux_and_leaves_the_shape():
    ramp = torch.linspace(50, 150, 600).reshape(1, 1, 20, 30)
    one, ten = (inputs.prepare(f * ramp, InputConfig("counts", "mean")) for f in (1, 10))
    assert torch.allclose(one, ramp / 100 - 1, atol=1e-6)
    assert torch.allclose(one, ten, atol=1e-6)


def test_bragg_peaks_do_not_move_the_mean(water):
    bright = water.clone().to(torch.int32)
    bright[:, :, 3, 4] = 1000
    config = InputConfig("counts", "mean")
    plain, with_peak = inputs.prepare(water, config), inputs.prepare(bright, config)
    with_peak[:, :, 3, 4] = plain[:, :, 3, 4]
    assert (plain - with_peak).abs().max() < 0.005


@pytest.mark.parametrize("normalise", ["variance", "mean"])
def test_an_empty_frame_stays_finite(normalise):
    x = inputs.prepare(torch.zeros(1, 1, 4, 5), InputConfig("counts", normalise))
    assert torch.isfinite(x).all()
