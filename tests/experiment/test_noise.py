"""The noise of detectors that do not count, as frames show it."""

import numpy as np
import pytest

from hitfinder.errors import GeometryError, SourceError
from hitfinder.experiment.open import experiment_of
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.experiment.zeropeak import corrected, read_noise
from hitfinder.io.memory import ArraySource
from hitfinder.io.open import open_source

SHAPE = (200, 300)
WHOLE = [(slice(0, SHAPE[0]), slice(0, SHAPE[1]))]
HALVES = [(slice(0, 100), slice(0, 300)), (slice(100, 200), slice(0, 300))]
GOOD = np.ones(SHAPE, bool)
GIVEN = {"photon_energy_ev": 6000.0, "camera_length_m": 0.1, "pixel_size_um": 75.0}


def values(sigma, rate=0.02, offset=0.0, seed=1, shared=0.0):
    """Photons as a detector with noise reads them, some of them shared by two pixels."""
    rng = np.random.default_rng(seed)
    photons = rng.poisson(rate, SHAPE)
    parts = photons.astype(float)
    for n in range(photons.max()):
        given = rng.random(SHAPE) * ((photons > n) & (rng.random(SHAPE) < shared))
        parts += np.roll(given, 1, 1) - given
    return (parts + rng.normal(offset, sigma, SHAPE)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5, 3.0])
@pytest.mark.parametrize("offset", [-0.2, 0.0, 0.15])
def test_offset_and_noise_are_those_of_the_pixels_without_photons(sigma, rate, offset):
    found = read_noise(values(sigma, rate, offset), GOOD, WHOLE)
    assert found.seen[0]
    assert found.sigma[0] == pytest.approx(sigma, rel=0.07)
    assert found.offset[0] == pytest.approx(offset, abs=0.12 * sigma + 0.2 * sigma * min(rate, 1))


@pytest.mark.parametrize("sigma", [0.1, 0.2, 0.3])
def test_shared_photons_are_no_noise(sigma):
    found = read_noise(values(sigma, 0.1, 0.1, shared=0.3), GOOD, WHOLE)
    assert found.sigma[0] == pytest.approx(sigma, rel=0.05)
    assert found.offset[0] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("adu", [3, 10])
@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.5])
def test_whole_adu_are_as_good(adu, sigma):
    whole = np.rint(adu * values(sigma, offset=0.1)) / adu
    found = read_noise(whole, GOOD, WHOLE)
    rounded = np.hypot(sigma, 1 / adu / np.sqrt(12))
    assert found.sigma[0] == pytest.approx(rounded, rel=0.08)
    assert found.offset[0] == pytest.approx(0.1, abs=0.05)


def test_a_common_mode_is_taken_from_each_panel():
    frame = values(0.2)
    frame[100:] += 1.4
    found = read_noise(frame, GOOD, HALVES)
    np.testing.assert_allclose(found.offset, [0, 1.4], atol=0.02)
    out = np.empty(SHAPE, np.float32)
    corrected(frame, found, HALVES, out)
    np.testing.assert_allclose(np.median(out[:100]), np.median(out[100:]), atol=0.01)


def test_a_panel_full_of_light_has_the_noise_of_the_others():
    frame = values(0.3)
    frame[100:] = values(0.3, rate=30)[100:]
    found = read_noise(frame, GOOD, HALVES)
    np.testing.assert_array_equal(found.seen, [True, False])
    assert found.sigma[1] == found.sigma[0]
    assert found.offset[1] == 0


@pytest.mark.parametrize(
    "frame",
    [
        values(0.0, 0.3).astype(np.int16),
        values(0.0, 0.3),
        values(0.0, 20.0),
        values(0.05, 0.3),
        np.outer(np.linspace(0, 3, 200), np.linspace(1, 2, 300)),
        values(0.0, 2.0) * np.random.default_rng(1).normal(1, 0.02, SHAPE),
        np.zeros(SHAPE, np.float32),
        np.full(SHAPE, np.nan, np.float32),
    ],
)
def test_photons_have_no_noise(frame):
    assert read_noise(frame, GOOD, WHOLE) is None


@pytest.mark.parametrize("adu", [0, 20])
@pytest.mark.parametrize("rate", [0.003, 0.05, 0.5])
def test_noise_cut_off_at_zero_has_its_width(adu, rate):
    frame = np.maximum(values(0.2, rate=rate), 0)
    frame = np.rint(frame * adu).astype(np.float32) / adu if adu else frame
    found = read_noise(frame, GOOD, WHOLE)
    assert found.offset[0] == pytest.approx(0, abs=0.02)
    assert found.sigma[0] == pytest.approx(0.2, rel=0.15)
    assert not found.marks


def test_photons_of_a_response_that_varies_are_no_noise_cut_off():
    rng = np.random.default_rng(1)
    photons = rng.poisson(0.5, SHAPE) * rng.normal(1, 0.03, SHAPE)
    assert read_noise(photons.astype(np.float32), GOOD, WHOLE) is None
    assert read_noise((21 / 20 * rng.poisson(0.5, SHAPE)).astype("f4"), GOOD, WHOLE) is None


def test_marks_are_no_readings():
    frame = values(0.3)
    frame[5, 5:9] = -1, -3.2, np.nan, -1.05
    found = read_noise(frame, GOOD, WHOLE)
    corrected(frame, found, WHOLE, frame)
    np.testing.assert_array_equal(np.isnan(frame[5, 5:9]), [True, True, True, False])


def test_chips_of_a_real_cspad_show_their_offsets(shared):
    """A photon is about 9.3 ADU there: the distance of the first two peaks of most chips."""
    source = open_source(shared / "real" / "lcls_cspad_thermolysin_401.cbf")
    frame = source.read(0)
    good = (frame > -1000) & (frame < 16000)
    chips = [
        (slice(row, row + 185), slice(column, column + 194))
        for row in range(0, frame.shape[0], 185)
        for column in (0, 194)
    ]
    found = read_noise((frame / 9.3).astype(np.float32), good, chips)
    assert found.seen.mean() > 0.75
    assert np.median(found.sigma) == pytest.approx(0.26, abs=0.04)
    commonest = []
    for chip, offset in zip(chips, found.offset, strict=True):
        near = frame[chip][good[chip]] / 9.3 - offset
        heights = np.histogram(near[np.abs(near) < 0.5], np.arange(-0.5, 0.6, 0.2))[0]
        commonest.append(heights.argmax())
    assert np.mean(np.abs(np.array(commonest)[found.seen] - 2) <= 1) > 0.95


def made(frames, **given):
    return experiment_of(GeometrySettings(**GIVEN, **given), None, ArraySource(frames))


@pytest.mark.parametrize(("adu", "dtype"), [(1, "f4"), (3, "f4"), (10, "f8"), (10, "i2")])
def test_frames_in_photons_have_no_offset_and_keep_their_noise(adu, dtype, caplog):
    frames = np.stack([adu * values(0.2, offset=offset, seed=1) for offset in (0.3, -0.2)])
    frames = np.rint(frames).astype(dtype) if dtype == "i2" else frames.astype(dtype)
    experiment = made(frames, adu_per_photon=float(adu))
    caplog.set_level("INFO")
    experiment.log()
    assert experiment.noise.sigma == pytest.approx(0.2, rel=0.05)
    assert abs(experiment.noise.largest_offset) == pytest.approx(0.3, abs=0.02)
    assert "noise 0.2" in caplog.text
    assert f"a photon is {adu} (settings)" in caplog.text
    assert "single-photon peak" not in caplog.text
    for index in range(2):
        photons = experiment.source.read(index)
        assert abs(np.median(photons)) < 0.03
        assert np.std(photons[photons < 0.5]) == pytest.approx(0.2, rel=0.1)
    assert not any("lessthan" in line for line in experiment.directives.lines)


def test_a_gain_that_the_frames_contradict_is_warned_of(caplog):
    made(41 * values(0.1)[None], adu_per_photon=10.0).log()
    assert "single-photon peak is at 41" in caplog.text
    assert "10 are given as one photon (settings)" in caplog.text
    caplog.clear()
    made(41 * values(0.1)[None], adu_per_photon=42.0).log()
    assert "single-photon peak" not in caplog.text


@pytest.mark.parametrize(("adu", "dtype"), [(1, "f4"), (20, "u2")])
def test_noise_cut_off_at_zero_is_no_photons_of_another_size(adu, dtype, caplog):
    frames = adu * np.maximum(np.stack([values(0.2, rate=0.01, seed=n) for n in range(3)]), 0)
    frames = np.rint(frames).astype(dtype) if dtype == "u2" else frames.astype(dtype)
    made(frames, adu_per_photon=float(adu)).log()
    assert "single-photon peak" not in caplog.text


def test_noise_that_hides_single_photons_is_warned_of(caplog):
    made(10 * values(0.8)[None], adu_per_photon=10.0).log()
    assert "hides single photons: a spot of 9 pixels needs about 14 photons" in caplog.text


def test_values_below_zero_in_an_unsigned_type_are_refused():
    stored = np.rint(20 * values(0.2)).astype(np.int16).view(np.uint16)[None]
    with pytest.raises(GeometryError, match="below zero, and stored in an unsigned type"):
        made(stored, adu_per_photon=20.0)


def test_noise_that_no_spot_rises_above_is_refused():
    with pytest.raises(GeometryError, match="hides every spot"):
        made(100 * values(0.2)[None], adu_per_photon=1.0)


def test_a_frame_of_too_much_noise_cannot_be_read():
    frames = np.stack([values(0.2, seed=n) for n in range(9)])
    frames[2] *= 100
    source = made(frames, adu_per_photon=1.0).source
    source.read(1)
    with pytest.raises(SourceError, match="hides every spot"):
        source.read(2)


def test_raw_values_with_gain_stages_are_refused():
    rng = np.random.default_rng(3)
    raw = rng.normal(3000, 200, (2, *SHAPE)).astype(np.uint16)
    switched = rng.random(raw.shape) < 0.002
    raw[switched] = (1 << 14) + 14000
    raw[0, 4, :5] = (3 << 14) + 14500
    with pytest.raises(GeometryError, match="gain stages in bits 14 and 15") as caught:
        made(raw)
    assert "pedestals of about 3000" in str(caught.value)


@pytest.mark.parametrize("rate", [0.1, 3000.0])
def test_counts_of_16_bits_are_not_taken_for_raw_values(rate):
    counts = np.random.default_rng(4).poisson(rate, (1, *SHAPE)).astype(np.uint16)
    counts[0, 9, 9:12] = 17000, 50000, 65535
    assert made(counts).source.dtype == np.uint16


def test_bright_light_that_falls_off_is_not_taken_for_raw_values():
    slope = np.linspace(500.0, 9000.0, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    counts = np.random.default_rng(5).poisson(slope, (1, *SHAPE)).astype(np.uint16)
    counts[0, 9, 9:12] = 17000, 20000, 50000
    assert made(counts).source.dtype == np.uint16
