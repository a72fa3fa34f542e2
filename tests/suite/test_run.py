"""A whole suite on small frames: our finder and another program's answers, files and page."""

import json
import re
import sys

import numpy as np
import pytest

from hitfinder.errors import ConfigError
from hitfinder.finding.peaks import peak_table
from hitfinder.finding.result import FrameResult
from hitfinder.suite import finders, measure, peers, run
from hitfinder.suite.condition import prepared
from hitfinder.suite.judge import near

SPOTS = np.array([[60.5, 40.5], [300.5, 100.5], [420.5, 150.5]])


@pytest.fixture
def blind(recipe, tmp_path):
    """A program that sees the first spot of every hit, and one false peak in every fourth frame."""
    made = prepared(recipe, tmp_path / "frames")
    rows = [[0, k, 60.5, 40.5, 9.0] for k in range(6)]
    rows += [[0, k, 200, 20, 5.0] for k in range(6, 26, 4)]
    peers.write(tmp_path / "peers", "blind", made, [{"snr": 1}], np.array(rows))
    return tmp_path / "peers"


@pytest.fixture
def results(recipe, blind, tmp_path):
    done = []
    suite = run.Suite(
        "low-flux",
        [recipe],
        finders=finders.finders(),
        frames=tmp_path / "frames",
        peers_folder=blind,
    )
    out = run.run(suite, done.append)
    assert sum(done) == suite.n_frames
    return out


def test_what_is_measured_is_what_was_planted(results):
    (condition,) = results["conditions"]
    ours, other = (condition["finders"][name] for name in ("likelihood", "blind"))
    bright = ours["groups"][0]
    assert bright["n_spots"] == 9
    assert bright["recall"]["value"] == 1
    assert bright["position"]["median_px"] < 0.2
    assert bright["hits"]["efficiency"]["value"] == bright["hits"]["decided"]["value"] == 1
    assert ours["false_per_frame"] <= 0.1
    seen = other["groups"][0]
    assert seen["recall"]["value"] == pytest.approx(1 / 3, abs=1e-3)
    # Its false peaks are the weaker ones: 0.25 a blank are too many, unless they are dropped.
    assert seen["recall_by_settings"]["value"] == 0
    assert "false_per_frame" not in other


def test_probabilities_are_held_against_the_truth(recipe, tmp_path):
    made = prepared(recipe, tmp_path)
    found = finders.search(finders.LIKELIHOOD, made, lambda n: None)
    listed = list(zip(found.peaks[-1], made.is_hit, strict=True))
    lists = [p[:, :1] * 0 + 0.9 for p in found.peaks[-1]]
    sure = finders.Found(
        **{
            **vars(found),
            "hit_probability": made.is_hit.astype(float),
            "peak_probability": [p.ravel() for p in lists],
        }
    )
    measured = measure.measured(made, sure)
    assert measured["hit_reliability"]["error"] == 0
    # The most permissive setting gives peaks of noise besides, which are not true.
    true = np.concatenate([near(p[:, :2], SPOTS, 4.0) & hit for p, hit in listed])
    assert measured["peak_reliability"]["error"] == pytest.approx(abs(true.mean() - 0.9), abs=1e-4)
    assert 0.1 < true.mean() < 0.85


def test_files_are_written_and_the_page_needs_no_others(results, tmp_path):
    page = run.write(results, tmp_path / "out")
    assert json.loads((tmp_path / "out" / run.RESULTS).read_text()) == results
    text = page.read_text()
    assert "blind" in text
    assert "a small detector" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert {p.name for p in (tmp_path / "out").glob("*.png")} == {
        "hits.png",
        "photons.png",
        "curves.png",
        "reliability.png",
    }


def test_frames_without_a_folder_are_not_kept(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run.run(run.Suite("low-flux", [recipe], finders=finders.finders()), lambda n: None)
    assert list(tmp_path.iterdir()) == []


def test_unknown_finders_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"no finder is called .oracle.\. Known: network, likeli"):
        finders.named(["oracle"])
    with pytest.raises(ConfigError, match="cannot be imported"):
        finders.named(["oracle:Finder"])


class Brightest:
    """Calls the brightest pixel a peak, and says what a test asks for."""

    columns = ("photons",)

    def __init__(self, geometry, settings):
        pass

    def __call__(self, frame, mask=None):
        ss, fs = np.unravel_index(frame.argmax(), frame.shape)
        top = int(frame[ss, fs])
        if top > 1000:
            raise RuntimeError("too bright")
        # Brighter is stronger by any of these.
        said = {"photons": top, "log_p": -2.0 * top, "probability": top / 1000}
        values = {name: [said[name]] for name in self.columns}
        return FrameResult(float(top), top > 5, peak_table([fs + 0.5], [ss + 0.5], **values))


class Sure(Brightest):
    columns = ("photons", "log_p", "probability")


class Significant(Brightest):
    columns = ("photons", "log_p")


class Plain(Brightest):
    columns = ()


@pytest.fixture
def others(monkeypatch):
    monkeypatch.setitem(sys.modules, "finders_to_judge", sys.modules[__name__])


def test_finders_of_others_are_judged_beside_ours(recipe, tmp_path, others):
    chosen = finders.named(["finders_to_judge:Brightest", "likelihood"])
    assert [f.name for f in chosen] == ["finders_to_judge:Brightest", "likelihood"]
    suite = run.Suite("low-flux", [recipe], finders=chosen, frames=tmp_path)
    results = run.run(suite, lambda n: None)
    (condition,) = results["conditions"]
    theirs = condition["finders"]["finders_to_judge:Brightest"]["groups"][0]
    # It finds one of three bright spots, and as many false peaks as there are blanks, all weaker.
    assert theirs["recall"]["value"] == pytest.approx(1 / 3, abs=1e-3)
    assert theirs["position"]["median_px"] == 0
    assert theirs["hits"]["efficiency"]["value"] == 1
    assert condition["finders"]["finders_to_judge:Brightest"]["false_per_frame"] == 1


def test_weak_peaks_are_told_by_what_a_finder_says_of_them(recipe, tmp_path, others):
    made = prepared(recipe, tmp_path)
    for name, scale in (("Brightest", 1.0), ("Sure", 1e-3), ("Significant", 2.0), ("Plain", 0.0)):
        (finder,) = finders.named([f"finders_to_judge:{name}"])
        found = finders.search(finder, made, lambda n: None)
        tops = [frame.max() for frame in made.frames]
        strengths = [peaks[0, 2] for peaks in found.peaks[0]]
        np.testing.assert_allclose(strengths, scale * np.array(tops, float), rtol=1e-6)
        assert (found.peak_probability is None) == (name != "Sure")
        assert found.hit_probability is None


def test_a_finder_of_others_that_fails_is_named(small_recipe, tmp_path, others):
    made = prepared(small_recipe(photons=5000), tmp_path)
    (finder,) = finders.named(["finders_to_judge:Brightest"])
    with pytest.raises(
        ConfigError, match=r"small, frame 0: .*Brightest' fails \(RuntimeError: too"
    ):
        finders.search(finder, made, lambda n: None)
