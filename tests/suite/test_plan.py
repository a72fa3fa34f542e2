"""`hitfinder plan`: what is extrapolated, against what is simulated and against arithmetic."""

import json
import math

import gemmi
import pytest

from hitfinder.cli.main import main
from hitfinder.executors.inline import Inline
from hitfinder.finding.settings import FinderSettings
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.presets import dotted, load_settings
from hitfinder.simulation.simulator import Simulator
from hitfinder.suite.plan import Rate, plan
from hitfinder.suite.trial import SHELLS, Shells

SMALL = {
    "detector": "eiger2-x-500k", "structure": "random", "cell": "60,60,90",
    "space_group": "P 43 21 2", "d_min_a": 4.0, "camera_length_m": 0.08,
}  # fmt: skip
OPTIONS = ("--detector", "eiger2-x-500k", "--structure", "random", "--cell", "60,60,90",
           "--space-group", "P 43 21 2", "--set", "crystal.d_min_a=4", "--n", "6",
           "--camera-length-m", "0.08", "-j", "1")  # fmt: skip


def make(n=8, **changes):
    settings = load_settings(overrides=dotted(SMALL | {"seed": 3} | changes))
    return plan(settings, n, executor=Inline())


@pytest.fixture(scope="module")
def bright():
    return make(blank_fraction=0.75)


def test_bright_crystals_are_found_and_indexed(bright):
    assert bright.found.value == bright.solved.value == 1
    # A quarter of the pulses meet one, and one in 100 of the others is called a hit.
    assert bright.hits.value == pytest.approx(0.25 + 0.75 * 0.01)
    assert bright.indexed.value == 0.25
    assert bright.indexed.low == pytest.approx(0.25 * Rate.of(8, 8).low)


def test_faint_crystals_are_not():
    dark = make(4, bragg_scale=1e-5)
    assert dark.solved.value == 0
    told = dark.told([1000], 100, 0.9)
    needed = told["needed"]["indexed_frames"]["pulses"]
    assert needed["value"] is None
    assert needed["low"] == pytest.approx(100 / Rate.of(0, 4).high)
    json.dumps(told, allow_nan=False)


def test_a_count_has_the_error_of_the_rate_and_that_of_counting():
    exact = Rate(0.2, 0.2, 0.2).expected(10_000)
    sigma = math.sqrt(10_000 * 0.2 * 0.8)
    assert (exact.value, exact.low, exact.high) == pytest.approx((2000, 2000 - sigma, 2000 + sigma))
    unsure = Rate(0.2, 0.1, 0.4).expected(1e8)
    assert (unsure.low, unsure.high) == pytest.approx((1e7, 4e7), rel=1e-3)
    assert Rate(0.2, 0.1, 0.4).pulses_for(10) == Rate(50, 25, 100)
    assert Rate(0.0, 0.0, 0.1).pulses_for(10) == Rate(math.inf, 100, math.inf)


def test_unique_reflections_are_those_of_the_asymmetric_unit():
    factors = structure_factors(load_settings(overrides=dotted(SMALL)))
    shells = Shells.of(factors)
    assert shells.unique.shape == (len(shells.equivalents), SHELLS)
    assert shells.unique.sum() == len(factors)
    assert shells.points.sum() == 2 * len(factors.expanded.hkl)
    # Laue class 4/mmm: 16 in general; (0, 0, l) has one equivalent besides itself.
    assert shells.equivalents.tolist() == [2, 4, 8, 16]


def test_completeness_is_that_of_many_simulated_frames(bright):
    settings = load_settings(overrides=dotted(SMALL | {"seed": 99, "min_photons": 0.0}))
    simulator = Simulator.of(settings)
    group = gemmi.SpaceGroup("P 43 21 2")
    asu, operations = gemmi.ReciprocalAsu(group), group.operations()
    wanted = {
        tuple(hkl)
        for hkl in gemmi.make_miller_array(gemmi.UnitCell(60, 60, 90, 90, 90, 90), group, 5.0)
    }
    seen, at = set(), []
    for number in range(60):
        spots = simulator.expose(number).spots
        for scaled, _ in spots:
            table = scaled.table
            for hkl in zip(table["h"], table["k"], table["l"], strict=True):
                seen.add(tuple(asu.to_asu(list(map(int, hkl)), operations)[0]))
        at.append(len(seen & wanted) / len(wanted))
    predicted = plan(settings, 30, resolution_a=5.0, executor=Inline())
    for frames in (10, 30, 60):
        assert predicted.completeness(frames) == pytest.approx(at[frames - 1], abs=0.06)
    enough = predicted.frames_for(0.5)
    assert predicted.completeness(enough) == pytest.approx(0.5, abs=1e-3)


def test_what_the_detector_does_not_see_is_never_complete(bright):
    far = plan(
        load_settings(overrides=dotted(SMALL | {"camera_length_m": 0.6})),
        2,
        resolution_a=4.0,
        finder=FinderSettings(finder="likelihood"),
        executor=Inline(),
    )
    assert far.frames_for(0.99) == math.inf
    assert far.told([10], 1, 0.99)["needed"]["completeness"]["pulses"]["value"] is None


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["plan", *map(str, arguments)])
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


def test_the_command_tells_and_writes(capsys, tmp_path):
    out = tmp_path / "p"
    code, said, _ = run(capsys, *OPTIONS, "--pulses", "100,1e4", "--indexed", 50, "--out", out)
    assert code == 0
    assert "pulses with a crystal tried: 6\nhits: 6 (100 %" in said
    assert "50 indexed frames take about 50 pulses" in said
    assert sorted(p.name for p in out.iterdir()) == ["plan.html", "plan.json", "plan.png"]
    told = json.loads((out / "plan.json").read_text())
    assert [row["pulses"] for row in told["pulses"]] == [100, 10_000]
    assert told["pulses"][1]["hits"]["value"] == 10_000
    assert told["settings"]["crystal"]["cell"] == "60,60,90"
    page = (out / "plan.html").read_text(encoding="utf-8")
    assert "50 indexed frames take about 50 pulses" in page
    assert (out / "plan.png").read_bytes().startswith(b"\x89PNG")
    code, _, error = run(capsys, *OPTIONS, "--out", out)
    assert (code, "there is a plan already" in error) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--flux", "-1"), ("flux", "-1")),
        (("--detector", "eigr"), ("eigr",)),
        (("--structure", "missing.pdb"), ("missing.pdb", "no such file")),
        (("--set", "noise=false"), ("without noise",)),
        (("--resolution-a", "2"), ("4 Å only", "2 Å is finer", "d_min_a")),
        (("--pulses", "many"), ("many", "1e3,1e5")),
        (("--pulses", "0"), ("1 to 1e15",)),
        (("--completeness", "1"), ("completeness",)),
        (("--finder", "none"), ("none",)),
    ],
)
def test_bad_input_gets_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, errors = run(capsys, *OPTIONS, *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in errors
    for word in words:
        assert word in errors
