import numpy as np
import pytest

from hitfinder.errors import ConfigError
from hitfinder.simulation.select import photons_below
from hitfinder.simulation.spectrum import (
    from_file,
    gaussian,
    inverse_compton,
    sase,
    tophat,
    two_colour,
)
from hitfinder.units import HC_EV_ANGSTROM

ENERGY = 6500.0


def moments(spectrum):
    energy, weight = spectrum.k * HC_EV_ANGSTROM, spectrum.density
    mean = np.average(energy, weights=weight)
    return mean, np.sqrt(np.average((energy - mean) ** 2, weights=weight)), weight


def fwhm(spectrum):
    above = spectrum.k[spectrum.density > spectrum.density.max() / 2] * HC_EV_ANGSTROM
    return (above[-1] - above[0]) / ENERGY


@pytest.mark.parametrize(
    "spectrum",
    [
        tophat(ENERGY, 0.01),
        tophat(ENERGY, 0.0),
        gaussian(ENERGY, 0.02),
        two_colour(ENERGY, 0.002, 0.03),
        inverse_compton(ENERGY, 0.02),
        sase(ENERGY, 0.01, np.random.default_rng(1)),
    ],
)
def test_every_spectrum_holds_all_photons_at_its_energy(spectrum):
    assert spectrum.cumulative[-1] == pytest.approx(1.0)
    assert spectrum.mean_energy_ev == pytest.approx(ENERGY, rel=3e-3)
    k = np.linspace(spectrum.k_low, spectrum.k_high, 4001)
    arrays = (spectrum.k_low, spectrum.step(), spectrum.density, spectrum.cumulative)
    below = np.array([photons_below(value, *arrays) for value in k])
    slope = np.diff(below) / np.diff(k)
    middle = np.interp((k[1:] + k[:-1]) / 2, spectrum.k, spectrum.density)
    assert np.allclose(slope, middle, rtol=1e-2, atol=2e-3 * middle.max())
    assert photons_below(spectrum.k_low - 1, *arrays) == 0
    assert photons_below(spectrum.k_high + 1, *arrays) == pytest.approx(1)


def test_widths():
    assert moments(tophat(ENERGY, 0.01))[1] * 0 == 0
    assert fwhm(gaussian(ENERGY, 0.02)) == pytest.approx(0.02, rel=0.01)
    top = tophat(ENERGY, 0.01)
    assert (top.k_high - top.k_low) * HC_EV_ANGSTROM == pytest.approx(0.01 * ENERGY)


def test_two_colours_share_the_photons():
    spectrum = two_colour(ENERGY, 0.002, 0.03, ratio=3.0)
    half = ENERGY / HC_EV_ANGSTROM
    below = np.interp(half, spectrum.k, spectrum.cumulative)
    assert below == pytest.approx(0.25, abs=1e-3)
    assert np.interp(half, spectrum.k, spectrum.density) < 1e-3 * spectrum.density.max()
    narrow = two_colour(ENERGY, 0.0, 0.03)
    assert narrow.cumulative[-1] == pytest.approx(1)


def test_inverse_compton_has_a_sharp_edge_above_and_a_tail_below():
    spectrum = inverse_compton(ENERGY, 0.02)
    mean, sigma, weight = moments(spectrum)
    energy = spectrum.k * HC_EV_ANGSTROM
    skew = np.average(((energy - mean) / sigma) ** 3, weights=weight)
    assert skew < -0.5
    quarter = np.interp([0.05, 0.5, 0.95], spectrum.cumulative, energy)
    assert quarter[1] - quarter[0] > 1.5 * (quarter[2] - quarter[1])


def test_sase_spectra_differ_and_average_to_the_envelope():
    rng = np.random.default_rng(2)
    shots = np.array([sase(ENERGY, 0.01, rng, 40).density for _ in range(400)])
    envelope = gaussian(ENERGY, 0.01).density
    inside = envelope > 0.5 * envelope.max()
    assert np.allclose(shots.mean(0)[inside], envelope[inside], rtol=0.25)
    # Chaotic light: intensity at one wavenumber has the spread of an exponential distribution.
    assert np.median(shots.std(0)[inside] / shots.mean(0)[inside]) == pytest.approx(1, abs=0.15)
    assert not np.array_equal(shots[0], shots[1])


def test_measured_spectrum(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("# energy photons\n6600 0\n6500, 4\n6400 0\n")
    spectrum = from_file(path)
    assert spectrum.mean_energy_ev == pytest.approx(6500, rel=1e-5)
    assert fwhm(spectrum) == pytest.approx(100 / ENERGY, rel=0.02)
    moved = from_file(path, 7000)
    assert moved.mean_energy_ev == pytest.approx(7000, rel=1e-6)
    assert (moved.k_high - moved.k_low) * HC_EV_ANGSTROM == pytest.approx(200)


@pytest.mark.parametrize(
    "text", ["", "1 2 3\n4 5 6\n", "a b\n", "6500 1\n", "1 0\n2 0\n", "-1 2\n3 4\n"]
)
def test_files_that_hold_no_spectrum(tmp_path, text):
    path = tmp_path / "s.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"s\.txt"):
        from_file(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tophat(ENERGY, -0.1), "bandwidth"),
        (lambda: gaussian(0, 0.1), "photon energy"),
        (lambda: two_colour(ENERGY, 0.01, 2.0), "separation"),
        (lambda: inverse_compton(ENERGY, 0.01, -1), "tail"),
        (lambda: sase(ENERGY, 0.01, np.random.default_rng(0), 0), "mode"),
    ],
)
def test_impossible_spectra(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    "text", ["6000 nan\n6010 1\n", "6000 1\ninf 1\n", "6000 1e308\n6010 1e308\n"]
)
def test_a_file_of_no_finite_spectrum_is_named(tmp_path, text):
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(ConfigError, match=r"mine.txt: "):
        from_file(tmp_path / "mine.txt")
