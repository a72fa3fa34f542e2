import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hitfinder as hf
from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.crystal.orientation import random_rotation
from hitfinder.executors.contract import Lost
from hitfinder.executors.inline import Inline
from hitfinder.executors.processes import Processes
from hitfinder.indexing import centerfit
from hitfinder.indexing.batch import LEAST_SCORE, FramePeaks, index_frames, turned_at_random
from hitfinder.indexing.cellfit import fitted_cell
from hitfinder.indexing.centerfit import FittedStep, fitted_step
from hitfinder.indexing.indexer import Indexer, Orientation
from hitfinder.indexing.kernels import fit, log_likelihood
from hitfinder.job.indexing.center import on_detector

WAVELENGTH, PIXEL, LONGEST = 2.0, 2.5e-4, 0.28
LATTICES = {
    "triclinic": ("52,61,73,82,97,101", "P 1"),
    "monoclinic C": ("120,60,70,90,110,90", "C 1 2 1"),
    "tetragonal": ("68,68,108", "P 43 21 2"),
    "hexagonal": ("90,90,130,90,90,120", "P 61 2 2"),
    "rhombohedral": ("90,90,130,90,90,120", "R 3:H"),
    "cubic F": ("150,150,150", "F 4 3 2"),
}
SOME_LATTICES = [
    *("triclinic", "monoclinic C", "tetragonal", "rhombohedral"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("hexagonal", "cubic F")),
]


def diffracted(lattice, turn, rng, n, bandwidth=0.01, error=0.3):
    """Scattering vectors, at the middle wavelength, of n lattice points that diffract.

    A point g diffracts where |s0 + g| = |s0|, so at the wavelength -2 g_z / |g|² (Ewald).
    """
    axes = turn @ lattice.primitive
    limit = int(LONGEST / np.linalg.norm(lattice.primitive, axis=0).min()) + 1
    h = np.stack(np.meshgrid(*[np.arange(-limit, limit + 1)] * 3), -1).reshape(-1, 3)
    g = h @ axes.T
    length = np.linalg.norm(g, axis=1)
    g = g[(length > 0.03) & (length < LONGEST)]
    wavelength = -2 * g[:, 2] / (g**2).sum(axis=1)
    on = np.abs(wavelength / WAVELENGTH - 1) < bandwidth / 2
    g, wavelength = g[on], wavelength[on]
    chosen = rng.choice(len(g), min(n, len(g)), replace=False)
    q = g[chosen] * (wavelength[chosen] / WAVELENGTH)[:, None]
    return q + rng.normal(0, error * PIXEL, q.shape)


def anywhere(rng, n):
    """Vectors to random places of a flat detector."""
    radius, angle = 0.6 * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
    s = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.ones(n)], 1)
    return (s / np.linalg.norm(s, axis=1, keepdims=True) - [0, 0, 1]) / WAVELENGTH


def off_by_deg(lattice, axes, turn):
    """Angle between orientations, up to the lattice's symmetry."""
    return lattice.angle_deg(axes, turn @ lattice.cell.reciprocal)


def indexer_of(name):
    lattice = read_lattice(*LATTICES[name])
    return lattice, Indexer(lattice, LONGEST, PIXEL)


@pytest.mark.parametrize("name", SOME_LATTICES)
def test_orientations_are_found(name):
    lattice, indexer = indexer_of(name)
    rng = np.random.default_rng(1)
    for _ in range(5):
        turn = random_rotation(rng)
        q = np.concatenate([diffracted(lattice, turn, rng, 9), anywhere(rng, 4)])
        p = np.concatenate([rng.uniform(0.4, 1, 9), rng.uniform(0.05, 0.6, 4)])
        found = indexer.index(q, p)
        assert found.score > LEAST_SCORE
        assert off_by_deg(lattice, found.axes, turn) < 0.15
        assert np.allclose(
            found.axes.T @ found.axes, lattice.cell.reciprocal.T @ lattice.cell.reciprocal
        )
        assert found.belongs[:9].min() > 0.5
        assert (found.belongs[9:] > 0.5).sum() <= 1
        near = found.hkl @ found.axes.T - q
        assert np.linalg.norm(near[:9], axis=1).max() < 0.004


@pytest.mark.parametrize("name", SOME_LATTICES)
def test_chance_does_not_look_like_a_lattice(name):
    _, indexer = indexer_of(name)
    rng = np.random.default_rng(2)
    scores = [indexer.index(anywhere(rng, n), np.full(n, 0.9)).score for n in (4, 6, 9, 14, 20)]
    assert max(scores) < LEAST_SCORE


@pytest.mark.slow
def test_probabilities_tell_which_peaks_to_trust():
    lattice, indexer = indexer_of("tetragonal")
    rng = np.random.default_rng(3)
    told, untold = 0, 0
    for _ in range(6):
        turn = random_rotation(rng)
        q = np.concatenate([diffracted(lattice, turn, rng, 5), anywhere(rng, 30)])
        p = np.concatenate([np.full(5, 0.95), np.full(30, 0.1)])
        told += off_by_deg(lattice, indexer.index(q, p).axes, turn) < 0.3
        none = indexer.index(q, np.full(35, np.nan))
        untold += off_by_deg(lattice, none.axes, turn) < 0.3
    assert told >= 5
    assert untold <= 2


def test_a_geometry_that_is_a_little_wrong_is_borne():
    lattice, indexer = indexer_of("tetragonal")
    rng = np.random.default_rng(4)
    for scale, shift in ((1.005, 0.0), (1.0, 2 * PIXEL)):
        turn = random_rotation(rng)
        q = diffracted(lattice, turn, rng, 12) * scale + [shift, 0, 0]
        assert off_by_deg(lattice, indexer.index(q, np.full(12, 0.9)).axes, turn) < 0.4


def test_a_broad_spectrum_needs_to_be_told():
    lattice = read_lattice(*LATTICES["tetragonal"])
    rng = np.random.default_rng(5)
    turn = random_rotation(rng)
    q = diffracted(lattice, turn, rng, 15, bandwidth=0.06)
    found = [Indexer(lattice, LONGEST, PIXEL, b).index(q, np.full(15, 0.9)) for b in (0.01, 0.06)]
    assert off_by_deg(lattice, found[1].axes, turn) < 0.3
    assert found[1].score > found[0].score + 10


def test_too_few_peaks_have_no_orientation():
    _, indexer = indexer_of("tetragonal")
    rng = np.random.default_rng(6)
    assert indexer.index(np.empty((0, 3)), np.empty(0)) is None
    assert indexer.index(anywhere(rng, 2), np.full(2, 0.9)) is None
    # Two directions only: nothing can be told from peaks in a row.
    row = np.outer([1.0, 2.0, 3.0, 4.0], [0.03, 0, -0.001])
    assert indexer.index(row, np.full(4, 0.9)) is None


def test_vectors_have_to_be_finite():
    _, indexer = indexer_of("tetragonal")
    q = anywhere(np.random.default_rng(12), 5)
    q[2, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        indexer.index(q, np.full(5, 0.9))


def test_lattice_points_in_a_row_are_no_orientation():
    lattice = read_lattice(*LATTICES["tetragonal"])
    a_star = 1 / 68
    coarse = Indexer(lattice, 1.05 * a_star, 1e-3)
    angle = np.deg2rad([0.0, 7.0, 14.0])
    q = a_star * np.stack([np.cos(angle), np.sin(angle), -0.03 + 0 * angle], 1)
    assert coarse.index(q, np.full(3, 0.9)) is None


def test_fit_is_the_density_of_a_normal_distribution():
    lattice, _ = indexer_of("triclinic")
    rng = np.random.default_rng(7)
    turn, spread = random_rotation(rng), np.array([3e-4, 1e-3, 5e-4, 4e-3])
    point = turn @ lattice.primitive @ [2.0, -3.0, 4.0]
    q = point + rng.normal(0, 4e-4, (6, 3))
    gain = np.empty(6)
    inverse = np.linalg.inv(lattice.primitive)
    fit(turn, q, np.ascontiguousarray(lattice.primitive), inverse, spread, gain)
    for one, value in zip(q, gain, strict=True):
        length = np.linalg.norm(one)
        off = one - point
        along = off @ one / length
        across = np.linalg.norm(off - along * one / length)
        sigma = spread[0] + spread[1] * length, spread[2] + spread[3] * length
        density = np.exp(-0.5 * ((across / sigma[0]) ** 2 + (along / sigma[1]) ** 2))
        density /= (2 * np.pi) ** 1.5 * sigma[0] ** 2 * sigma[1]
        assert value == pytest.approx(density / lattice.cell.volume_a3, rel=1e-6)
    odds = np.arange(1.0, 7.0)
    assert log_likelihood(gain, odds) == pytest.approx(np.log1p(odds * gain).sum())


def frames_of(lattice, rng, counts):
    """Frames with so many peaks of each of some crystals; and their orientations."""
    frames, turns = [], []
    for number, of in enumerate(counts):
        turns.append([random_rotation(rng) for _ in of])
        q = [diffracted(lattice, t, rng, n) for t, n in zip(turns[-1], of, strict=True)]
        q = np.concatenate([*q, anywhere(rng, 2)])
        frames.append(FramePeaks(number, q, np.full(len(q), 0.9)))
    return frames, turns


def test_further_crystals_are_found_in_what_is_left():
    lattice, indexer = indexer_of("tetragonal")
    frames, turns = frames_of(lattice, np.random.default_rng(8), [(12, 9), (10,)])
    found = list(index_frames(indexer, frames, Inline(), most_crystals=3))
    assert [len(one.crystals) for one in found] == [2, 1]
    for one, true in zip(found, turns, strict=True):
        off = [[off_by_deg(lattice, c.axes, t) for c in one.crystals] for t in true]
        assert np.max(np.min(off, axis=1)) < 0.2
    assert [len(one.crystals) for one in index_frames(indexer, frames, Inline())] == [1, 1]


def test_the_crystal_that_explains_more_is_taken():
    lattice, indexer = indexer_of("tetragonal")
    rng = np.random.default_rng(11)
    for _ in range(5):
        more, fewer = random_rotation(rng), random_rotation(rng)
        q = np.concatenate(
            [diffracted(lattice, more, rng, 34), diffracted(lattice, fewer, rng, 24)]
        )
        found = indexer.index(rng.permutation(q), np.full(58, 0.95))
        assert off_by_deg(lattice, found.axes, more) < 0.2


def test_frames_come_in_order_and_the_same_from_any_executor():
    lattice, indexer = indexer_of("tetragonal")
    frames, _ = frames_of(lattice, np.random.default_rng(9), [(n,) for n in (9, 0, 6, 12, 7)])
    one = list(index_frames(indexer, frames, Inline()))
    with Processes(2) as processes:
        several = list(index_frames(indexer, frames, processes))
    assert [found.frame for found in one] == [0, 1, 2, 3, 4]
    assert one[1].crystals == ()
    assert np.isnan(one[1].chance)
    for a, b in zip(one, several, strict=True):
        assert (a.frame, a.chance) == pytest.approx((b.frame, b.chance), nan_ok=True)
        assert [c.score for c in a.crystals] == [c.score for c in b.crystals]
    assert max(found.chance for found in one if found.crystals) < LEAST_SCORE


class EndsItself(Inline):
    """An executor whose worker dies at one of the frames, twice."""

    def run(self, work, tasks, *, ordered=False):
        for done in super().run(work, tasks, ordered=ordered):
            yield Lost(done.task, "SIGKILL") if done.task.frame == 1 else done


def test_a_frame_that_ends_its_workers_has_no_crystal():
    lattice, indexer = indexer_of("tetragonal")
    frames, _ = frames_of(lattice, np.random.default_rng(9), [(9,), (12,), (7,)])
    found = list(index_frames(indexer, frames, EndsItself()))
    assert [(one.frame, len(one.crystals)) for one in found] == [(0, 1), (1, 0), (2, 1)]
    assert np.isnan(found[1].chance)


def test_peaks_turned_at_random_keep_their_resolution():
    peaks = FramePeaks(3, anywhere(np.random.default_rng(10), 7), np.full(7, 0.5))
    turned = turned_at_random(peaks)
    assert np.allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(peaks.q, axis=1))
    assert np.allclose(turned[:, 2], peaks.q[:, 2])
    assert np.array_equal(turned, turned_at_random(peaks))
    assert np.abs(turned - peaks.q).max() > 0.01


def peaks(lattice, n_frames, n_peaks=14):
    """Peaks of crystals of a lattice, some of them strays."""
    rng = np.random.default_rng(7)
    frames = []
    for frame in range(n_frames):
        q = diffracted(lattice, random_rotation(rng), rng, n_peaks)
        q = np.concatenate([q, anywhere(rng, 3)])
        p = np.concatenate([rng.uniform(0.6, 1, len(q) - 3), rng.uniform(0.05, 0.6, 3)])
        frames.append(FramePeaks(frame, q, p))
    return frames


def fitted(lattice, frames):
    return fitted_cell(lattice, frames, lambda tried: Indexer(tried, LONGEST, PIXEL))


def edges(cell):
    return np.array(dataclasses.astuple(cell)[:3])


@pytest.mark.parametrize(
    "factors",
    [
        pytest.param((1.015, 1.015, 1.015), marks=pytest.mark.slow),
        pytest.param((0.985, 0.985, 0.985), marks=pytest.mark.slow),
        (1, 1, 1.006),
    ],
)
def test_a_cell_of_another_size_is_found_out(factors):
    lattice = read_lattice(*LATTICES["tetragonal"])
    given = dataclasses.replace(
        lattice.cell, **dict(zip("abc", edges(lattice.cell) * factors, strict=True))
    )
    fit = fitted(dataclasses.replace(lattice, cell=given), peaks(lattice, 8))
    assert fit.is_given_one_wrong
    assert edges(fit.fitted) == pytest.approx(edges(lattice.cell), rel=1e-3)
    assert fit.fitted.a == fit.fitted.b
    assert dataclasses.astuple(fit.fitted)[3:] == (90, 90, 90)
    assert fit.indexed_fitted >= max(fit.indexed_given, 0.8 * fit.frames)
    assert fit.larger_by == pytest.approx(1 / np.prod(factors) ** (1 / 3) - 1, abs=1e-3)


@pytest.mark.parametrize(
    "name", ["monoclinic C", pytest.param("hexagonal", marks=pytest.mark.slow)]
)
def test_the_right_cell_is_left_alone(name):
    lattice = read_lattice(*LATTICES[name])
    fit = fitted(lattice, peaks(lattice, 8))
    assert not fit.is_given_one_wrong
    assert fit.fitted.disagreement(lattice.cell) < 2e-3


def test_peaks_of_no_crystal_fit_no_cell():
    lattice = read_lattice(*LATTICES["tetragonal"])
    rng = np.random.default_rng(3)
    stray = [FramePeaks(k, anywhere(rng, 12), np.full(12, 0.8)) for k in range(4)]
    assert fitted(lattice, stray) is None
    assert fitted(lattice, []) is None


@pytest.mark.parametrize("seed", [37, 42, 85])
def test_an_orientation_that_explains_half_of_the_peaks_is_not_the_last_tried(seed):
    """Turned by half about a row of lattice points, many of a monoclinic lattice's points agree."""
    lattice = read_lattice("45,52,63,90,104,90", "P 1 21 1")
    rng = np.random.default_rng(seed)
    turn = random_rotation(rng)
    q = diffracted(lattice, turn, rng, 100, bandwidth=0.02)
    found = Indexer(lattice, LONGEST, PIXEL, 0.02).index(q, np.full(len(q), 0.95))
    assert off_by_deg(lattice, found.axes, turn) < 1


PIXEL_RAD = PIXEL * WAVELENGTH


def moved(frames, step_px):
    """Frames whose peaks are moved by a step, in pixels, on a flat detector."""
    out = []
    for frame in frames:
        s = WAVELENGTH * frame.q + [0, 0, 1]
        at = s / s[:, 2:] + [*(PIXEL_RAD * np.array(step_px)), 0]
        q = (at / np.linalg.norm(at, axis=1, keepdims=True) - [0, 0, 1]) / WAVELENGTH
        out.append(FramePeaks(frame.frame, q, frame.probability))
    return out


@pytest.mark.parametrize(
    "step_px",
    # From where the last begins no fit gets there: steps in several directions are tried.
    [(0, 0), (2, -1), (-4, 5), pytest.param((8, -8), marks=pytest.mark.slow)],
)
def test_a_beam_centre_that_is_off_is_found_out(step_px):
    lattice = read_lattice(*LATTICES["tetragonal"])
    frames = moved(peaks(lattice, 8, n_peaks=25), step_px)
    fit = fitted_step(frames, Indexer(lattice, LONGEST, PIXEL), WAVELENGTH, PIXEL_RAD)
    assert np.array(fit.step) / PIXEL_RAD == pytest.approx(step_px, abs=0.25)
    assert 0.01 < fit.sigma / PIXEL_RAD < 0.15
    assert fit.indexed_fitted == fit.frames == 8


def test_a_step_is_told_from_turns_of_the_crystals_at_once():
    lattice, indexer = indexer_of("tetragonal")
    rng = np.random.default_rng(6)
    step = PIXEL_RAD * np.array([1.5, -0.7])
    found = []
    for _ in range(3):
        axes = random_rotation(rng) @ lattice.cell.reciprocal
        hkl = rng.integers(-12, 13, (400, 3))
        g = hkl @ axes.T
        length = np.linalg.norm(g, axis=1)
        on = (length > 0.03) & (length < LONGEST)
        on &= np.abs(g[:, 2] + WAVELENGTH / 2 * length**2) < 0.01
        hkl, g = hkl[on], g[on]
        q = g + centerfit._moves(g, WAVELENGTH) @ step
        turned = Rotation.from_rotvec([2e-3, -1e-3, 5e-4]).as_matrix() @ axes
        found.append((q, Orientation(99.0, turned, hkl, np.ones(len(hkl)))))
    assert min(len(q) for q, _ in found) > 20
    left, _ = centerfit._step_left(found, indexer, WAVELENGTH)
    assert left / PIXEL_RAD == pytest.approx([1.5, -0.7], abs=0.005)


def test_peaks_of_which_few_belong_to_crystals_tell_no_beam_centre(monkeypatch):
    lattice, indexer = indexer_of("tetragonal")
    frames = peaks(lattice, 4, n_peaks=25)
    index = indexer.index

    def few_belong(q, probability):
        found = index(q, probability)
        return dataclasses.replace(found, belongs=0.5 * found.belongs)

    monkeypatch.setattr(indexer, "index", few_belong)
    monkeypatch.setattr(centerfit, "_tried", lambda *given: np.zeros(2))
    assert fitted_step(frames, indexer, WAVELENGTH, PIXEL_RAD) is None


@pytest.mark.slow
def test_no_beam_centre_is_told_by_peaks_of_another_cell():
    other = read_lattice("71,83,97,90,103,90", "P 1 21 1")
    frames = peaks(read_lattice(*LATTICES["tetragonal"]), 4, n_peaks=8)
    assert fitted_step(frames, Indexer(other, LONGEST, PIXEL), WAVELENGTH, PIXEL_RAD) is None


@pytest.mark.parametrize("turned", [False, True])
def test_a_step_of_the_peaks_is_told_as_the_centre_that_makes_it(turned):
    right = hf.Geometry.flat((400, 300), 75e-6, camera_length_m=0.1, photon_energy_ev=9000)
    if turned:
        (panel,) = right.detector.panels
        panel = dataclasses.replace(panel, fs_vector=panel.ss_vector, ss_vector=panel.fs_vector)
        detector = dataclasses.replace(right.detector, panels=(panel,))
        right = dataclasses.replace(right, detector=detector)
    fs, ss = right.detector.beam_center
    used = dataclasses.replace(right, detector=right.detector.with_beam_center(fs - 3, ss + 5))
    place = [g.scattering_vectors(fs, ss)[0, :2] * g.wavelength_a for g in (used, right)]
    step = FittedStep(tuple(place[0] - place[1]), 1e-4, 8, 8, 8)
    fit = on_detector(step, used.detector.beam_center, used)
    assert fit.given == pytest.approx((fs - 3, ss + 5))
    assert fit.fitted == pytest.approx((fs, ss), abs=0.01)
    assert fit.sigma_px == pytest.approx(1e-4 / 75e-5)
    assert fit.is_given_one_wrong
