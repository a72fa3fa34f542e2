"""`hitfinder evaluate --suite`."""

import json

import pytest
from click.testing import CliRunner

from hitfinder.cli.evaluate import evaluate
from hitfinder.errors import HitfinderError
from hitfinder.suite import catalog, patternsim, simulated


def invoke(*arguments):
    return CliRunner().invoke(evaluate, list(map(str, arguments)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give a MODEL and --data, or --suite"),
        (["peak", "--suite", "low-flux"], "not both"),
        (["--suite", "low-flux"], "Give --out"),
        (
            ["--suite", "low-flux", "--out", "o", "--workers", "2"],
            "several --workers with --cluster only",
        ),
        (["--suite", "low-flux", "--data", "d", "--out", "o"], "--data does not go with --suite"),
        (["peak", "--data", "d", "--quick"], "--quick goes with --suite only"),
        (["peak", "--data", "d", "--cell", "1,1,1"], "--cell goes with --suite only"),
        (
            ["--suite", "low-flux", "--out", "o", "--space-group", "P1"],
            "--space-group does not go with --suite low-flux",
        ),
        (
            ["--suite", "known-crystal", "--out", "o", "--finder", "network"],
            "--finder does not go with --suite known-crystal",
        ),
        (
            ["--suite", "known-crystal", "--out", "o", "--frames", "f"],
            "--frames does not go with --suite known-crystal",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, message):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "bright"], "no suite is called 'bright'; known: low-flux, known-crystal"),
        (["--suite", "low-flux", "--finder", "x"], "no finder is called 'x'"),
        (["--suite", "known-crystal", "--only", "flux"], "no condition's name starts with 'flux'"),
        (["--suite", "known-crystal", "--structure", "none.pdb"], "none.pdb"),
        (["--suite", "known-crystal", "--cell", "60,60,90"], "Give --space-group"),
        (["--suite", "known-crystal", "--pattern-sim", "none.h5"], "none.h5: there is no such"),
        (["--suite", "low-flux", "--only", "x"], "no condition's name starts with 'x'"),
        (["--suite", "low-flux", "--pattern-sim", "none.h5"], "none.h5: there is no such file"),
        (["--suite", "low-flux", "--only", "flux-1", "--peers", "none"], "no such folder of peers"),
    ],
)
def test_what_does_not_exist_is_named_and_nothing_is_written(arguments, message, tmp_path):
    done = invoke(*arguments, "--out", tmp_path / "out")
    assert isinstance(done.exception, HitfinderError)
    assert message in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_suite_is_judged_and_not_replaced_unasked(small_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "recipes", lambda *given: [small_recipe()])
    monkeypatch.setattr(catalog, "series", lambda *given: [])
    out = tmp_path / "out"
    done = invoke("--suite", "low-flux", "--out", out)
    assert done.exit_code == 0, done.exception
    assert "left out: frames of CrystFEL's pattern_sim" in done.output
    assert json.loads((out / "results.json").read_text())["finders"][0] == "likelihood"
    again = invoke("--suite", "low-flux", "--out", out)
    assert "Use --overwrite" in str(again.exception)
    assert invoke("--suite", "low-flux", "--out", out, "--overwrite").exit_code == 0


def test_a_search_for_a_known_crystal_is_judged(tmp_path, monkeypatch):
    part = StoredPart()
    monkeypatch.setattr(catalog, "known_parts", lambda *given: [part])
    out = tmp_path / "out"
    done = invoke("--suite", "known-crystal", "--out", out, "--workers", 1)
    assert done.exit_code == 0, done.exception
    assert "left out: frames of CrystFEL's pattern_sim" in done.output
    assert "thinned measured frames" not in done.output
    results = json.loads((out / "results.json").read_text())
    assert results["known"] == [part.judged(lambda n: None)]
    assert (results["finders"], results["conditions"]) == ([], [])
    assert "Bragg photons" in (out / "suite.html").read_text()


class StoredPart:
    """A part whose frames were searched."""

    name, n_frames = "known-sim-1-cell", 9

    def judged(self, progress):
        progress(9)
        return {
            "name": self.name,
            "title": "1 shot of water",
            "frames": "pattern_sim",
            "shots": 1,
            "known": "cell",
            "of": 9,
            "right": {"20": 3},
            "seconds_a_frame": 0.3,
        }


def test_finders_of_others_are_judged_by_name_and_as_module_and_class(
    small_recipe, example_site, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(example_site))
    monkeypatch.setattr(catalog, "recipes", lambda *given: [small_recipe()])
    monkeypatch.setattr(catalog, "series", lambda *given: [])
    finders = ["sigma", "hitfinder_example.finder:SigmaFinder", "likelihood"]
    named = [item for name in finders for item in ("--finder", name)]
    done = invoke("--suite", "low-flux", "--out", tmp_path / "out", *named)
    assert done.exit_code == 0, done.exception
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["finders"] == finders
    judged = results["conditions"][0]["finders"]
    assert [judged[name]["groups"][0]["recall"]["value"] for name in finders] == [1, 1, 1]
    assert judged["sigma"] == {
        **judged["hitfinder_example.finder:SigmaFinder"],
        "ms_per_frame": judged["sigma"]["ms_per_frame"],
        "groups": judged["sigma"]["groups"],
    }
    assert all(name in (tmp_path / "out" / "suite.html").read_text() for name in finders)


def test_names_of_conditions_are_theirs_alone():
    names = [r.condition.name for r in catalog.recipes()]
    assert len(set(names)) == len(names) > 15
    quick = catalog.recipes(quick=True, only=["flux-100"])
    assert [r.condition.name for r in quick] == ["flux-100"]
    assert quick[0].condition.n_hits == catalog.QUICK_HITS * len(simulated.SCALES)


def test_simulated_hits_hold_the_photons_of_their_scale():
    recipe = simulated.flux_recipe(1)
    groups = len(recipe.condition.groups)
    sums = [
        [recipe.hit(None, k * groups + g)[1]["photons"].sum() for k in range(4)] for g in range(3)
    ]
    full, tenth, _ = (sum(each) / 4 for each in sums)
    assert 3e3 < full < 1e5
    assert 0.02 < tenth / full < 0.5
    assert recipe.blank(None, 0).sum() == pytest.approx(8.7e3, rel=0.1)


def test_bragg_frames_of_the_wrong_shape_are_refused(tmp_path):
    import h5py
    import numpy as np

    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.zeros((2, 10, 10))
        file["photon_energy_ev"] = file["camera_length_m"] = [6000.0, 7000.0]
    with pytest.raises(HitfinderError, match="holds frames of shape"):
        patternsim.recipes(path)


@pytest.mark.slow
def test_a_cluster_judges_to_the_same(tmp_path):
    given = ("--suite", "low-flux", "--quick", "--only", "pilatus", "--only", "far")
    more = ("--frames", tmp_path / "frames", "--cluster", "local", "--workers", 2)
    found = []
    for out, how in ((tmp_path / "here", ()), (tmp_path / "there", more)):
        done = invoke(*given, "--out", out, *how)
        assert done.exit_code == 0, done.exception
        results = json.loads((out / "results.json").read_text())
        judged = [one for c in results["conditions"] for one in c["finders"].values()]
        assert len([one.pop("ms_per_frame") for one in judged]) == 4
        found.append({key: value for key, value in results.items() if key != "date"})
    assert found[0] == found[1]
    assert (tmp_path / "frames" / "far" / "frames.npy").exists()
