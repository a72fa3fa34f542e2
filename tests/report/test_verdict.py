"""The verdict: each rule decides where it should, and nowhere else."""

import dataclasses
import json

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.report.evidence import HitEvidence, contradictions
from hitfinder.report.verdict import Evidence, IndexRate, judge
from hitfinder.results.chunk import ChunkResult, empty_rows

GOOD = Evidence(1000, 150, false_hits=0.01, peaks_per_hit=20.0, resolution_a=2.1)
GEOMETRY = {"photon_energy_ev": 6000.0, "camera_length_m": 0.15}
ESTIMATE = {
    "flag": "ok",
    "photon_energy_ev": 6010.0,
    "photon_energy_sigma_ev": 20.0,
    "camera_length_m": 0.1502,
    "camera_length_sigma_m": 0.0005,
    "drift": {"drifts": False},
}


def but(**changes):
    return dataclasses.replace(GOOD, **changes)


def test_a_good_run_is_kept_and_its_numbers_are_said():
    verdict = judge(GOOD)
    assert verdict.word == "keep"
    assert verdict.line == (
        "keep: 150 of 1\u2009000 frames are hits (15 %, 68 % interval 14 to 16 %; blank frames "
        "give 1 %); 20 peaks in the median hit, to 2.1 Å"
    )


@pytest.mark.parametrize("hits", [0, 1, 10, 15])
def test_no_more_hits_than_blank_frames_give_are_discarded(hits):
    verdict = judge(but(hits=hits))
    assert verdict.word == "discard"
    assert ("no more than frames without a crystal" in verdict.line) == (hits > 0)


def test_where_the_false_hit_share_is_not_known_any_hit_counts():
    assert judge(but(hits=3, false_hits=None)).word == "keep"
    assert judge(but(hits=0, false_hits=None)).word == "discard"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"frames": 49, "hits": 40}, "only 49 frames processed"),
        ({"unread": 120}, "120 frames could not be processed"),
        ({"geometry": ("the water says otherwise",)}, "the water says otherwise"),
        ({"hits": 19}, "blank frames alone would give about 10 hits"),
        ({"hits": 990}, "nearly every frame is a hit"),
        ({"hits": 1000}, "nearly every frame is a hit"),
        ({"static_hits": 80}, "80 of 150 hits rest on places that do not move"),
        ({"doubtful_hits": 80}, "80 of 150 hits have doubtful peaks only"),
        ({"ice_hits": 20}, "20 of 150 hits have most of their peaks on the rings of ice"),
        ({"line_hits": 20}, "20 of 150 hits have most of their peaks on one line"),
        ({"aside_for_ice": 20}, "20 frames that would be hits, and are not counted, have peaks on"),
        ({"aside_for_lines": 20}, "20 frames that would be hits, and are not counted, have"),
        ({"saturated_hits": 20}, "20 of 150 hits have saturated peaks"),
        ({"peaks_per_hit": 4.0}, "too few peaks to index half of the hits"),
        ({"resolution_a": 14.0}, "half of the hits do not reach 10 Å"),
        ({"index": IndexRate(150, 2, 1)}, "no more are indexed than by chance"),
        ({"index": IndexRate(150, 0, 0)}, "no more are indexed than by chance"),
        ({"index": IndexRate(150, 12, 0)}, "fewer than 10 % of the hits are indexed"),
    ],
)
def test_what_casts_doubt_has_a_person_look(changes, why):
    verdict = judge(but(**changes))
    assert verdict.word == "look"
    assert verdict.reasons[0].startswith(why)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 50, "hits": 20},
        {"unread": 100},
        {"hits": 970},
        {"static_hits": 70},
        {"doubtful_hits": 70},
        {"saturated_hits": 15},
        {"aside_for_ice": 16},
        {"peaks_per_hit": 5.0},
        {"resolution_a": 9.0},
        {"index": IndexRate(150, 100, 1)},
        # Of all frames, hits or not.
        {"index": IndexRate(1000, 60, 10)},
    ],
)
def test_less_than_that_does_not(changes):
    assert judge(but(**changes)).word == "keep"


def test_a_wrong_geometry_keeps_a_run_without_hits_from_being_discarded():
    assert judge(but(hits=0, geometry=("the camera length is far off",))).word == "look"


def test_frames_that_are_indexed_count_where_no_peak_is_seen():
    assert judge(but(hits=5, index=IndexRate(1000, 60, 10))).word == "keep"
    assert judge(but(hits=5, index=IndexRate(1000, 12, 10))).word == "discard"


def test_no_frame_at_all_is_looked_at():
    verdict = judge(Evidence(0, 0))
    assert verdict.word == "look"
    assert verdict.reasons[-1] == "no frame was processed"


def test_evidence_is_read_as_it_was_written_down():
    full = but(geometry=("a", "b"), index=IndexRate(150, 100, 0.5))
    for evidence in (GOOD, full):
        told = json.loads(json.dumps(judge(evidence).told(evidence)))
        assert Evidence.told(told["evidence"]) == evidence
        assert told["line"] == judge(evidence).line


def hits_of(*peaks):
    """Hits of a chunk, each a list of (fs, ss, maximum, probability)."""
    rows = empty_rows(len(peaks), "ok")
    rows["hit"], rows["n_peaks"] = True, [len(p) for p in peaks]
    rows["resolution_a"] = np.arange(len(peaks)) + 2.0
    table = np.zeros(sum(map(len, peaks)), PEAK_DTYPE)
    table["resolution_a"] = 5.0
    flat = [peak for hit in peaks for peak in hit]
    for k, name in enumerate(("fs", "ss", "maximum", "probability")):
        table[name] = [peak[k] for peak in flat]
    return ChunkResult(np.arange(len(peaks)), rows, table)


GRID = hf.Geometry.flat((1000, 900), 75e-6, camera_length_m=0.1, photon_energy_ev=9000)
RUN = {"geometry": GEOMETRY, "origin": {}, "hits_from": {"false_hits": 0.01}}


@pytest.mark.parametrize(("n_hot", "told"), [(5, "83 % of the peaks lie on 5 places"), (0, "")])
def test_peaks_that_do_not_move_from_hit_to_hit_are_told(n_hot, told):
    square = hf.Geometry.flat((1000, 1000), 75e-6, camera_length_m=0.1, photon_energy_ev=9000)
    rng, gathered = np.random.default_rng(1), HitEvidence(square)
    hot = [(100.5 * k + 20, 37.5 * k + 10, 9, 0.9) for k in range(n_hot)]
    for _ in range(3):
        turning = [(*rng.uniform(0, 1000, 2), 9, 0.9) for _ in range(10)]
        gathered.add(hits_of(*([*hot, one] for one in turning)))
    said = gathered.evidence(RUN).geometry
    assert [told in line for line in said] == ([True] if n_hot else [])


def test_hits_are_counted_by_what_their_peaks_are_like():
    static = {"places": [{"fs": 10.5, "ss": 20.5, "masked": False},
                         {"fs": 60.5, "ss": 60.5, "masked": True}]}  # fmt: skip
    there, elsewhere = (11.0, 22.0), (60.5, 60.5)
    chunk = hits_of(
        [(*there, 5, 0.9), (*there, 5, 0.2), (*elsewhere, 5, 0.2)],  # rests on the place
        [(*there, 5, 0.9), (*elsewhere, 5, 0.9)],  # by half only
        [(*elsewhere, 5, 0.2), (*elsewhere, 5, 0.4)],  # doubtful
        [(*elsewhere, 5, np.nan)],  # nobody knows
        [(*elsewhere, 100, 0.9)],  # saturated
        [],
    )
    chunk.merge(ChunkResult.without_results([6, 7], "missing-file"))
    chunk.merge(ChunkResult.without_results([8], "pending"))
    detector = dataclasses.replace(GRID.detector, saturation=100.0)
    saturated = dataclasses.replace(GRID, detector=detector)
    gathered = HitEvidence(saturated, static)
    gathered.add(chunk)
    found = gathered.evidence(RUN, "the detector reaches to 50 Å only")
    assert found == Evidence(
        frames=6,
        hits=6,
        unread=2,
        false_hits=0.01,
        peaks_per_hit=1.5,
        resolution_a=4.5,
        doubtful_hits=1,
        static_hits=1,
        saturated_hits=1,
        geometry=("the detector reaches to 50 Å only",),
    )


def test_frames_that_ice_or_a_line_explains_are_counted():
    rows = empty_rows(9, "ok")
    rows["n_peaks"], rows["hit"] = 10, [True] * 5 + [False] * 4
    rows["support"]["n_on_ice"][:3] = rows["support"]["n_on_line"][2:4] = 9
    rows["doubt"][5:] = ["ice", "ice", "line", "spot"]
    peaks = np.zeros(90, PEAK_DTYPE)
    gathered = HitEvidence(GRID)
    gathered.add(ChunkResult(np.arange(9), rows, peaks))
    found = gathered.evidence(RUN)
    assert (found.ice_hits, found.line_hits) == (3, 2)
    assert (found.aside_for_ice, found.aside_for_lines) == (2, 1)


def test_what_was_counted_of_some_hits_says_nothing_of_others():
    names = [field.name for field in dataclasses.fields(Evidence)]
    counts = [name for name in names if name.endswith("_hits") or name.startswith("aside")]
    counted = but(**{name: 140 for name in counts if name != "false_hits"})
    assert counted.of_other_hits() == GOOD


def test_nothing_gathered_is_no_evidence():
    assert HitEvidence(GRID).evidence(RUN) == Evidence(0, 0, false_hits=0.01)


def test_an_estimate_contradicts_what_it_is_far_from():
    assert contradictions(None, GEOMETRY, {}) == []
    assert contradictions(ESTIMATE, GEOMETRY, {}) == []
    # Within 2 %, however well it is known; and within five standard deviations, however far.
    sure = ESTIMATE | {"photon_energy_sigma_ev": 0.1, "photon_energy_ev": 6110.0}
    assert contradictions(sure, GEOMETRY, {}) == []
    vague = ESTIMATE | {"photon_energy_sigma_ev": 500.0, "photon_energy_ev": 8000.0}
    assert contradictions(vague, GEOMETRY, {}) == []
    off = ESTIMATE | {"camera_length_m": 0.1502, "camera_length_sigma_m": 0.0005}
    used = GEOMETRY | {"camera_length_m": 0.2}
    assert contradictions(off, used, {"camera_length_m": "a.h5"}) == [
        "the water says camera length 150.2 ± 0.5 mm, 200 mm was used (a.h5)"
    ]
    assert "fits no photon energy" in contradictions({"flag": "outside"}, GEOMETRY, {})[0]
    assert contradictions({"flag": "not-water"}, GEOMETRY, {}) == []
    # The estimate looks from 0.08 m on, and tells nothing of what is nearer.
    assert contradictions({"flag": "outside"}, GEOMETRY | {"camera_length_m": 0.06}, {}) == []
    ratio = {"flag": "ok", "camera_length_m": 0.1535, "camera_length_sigma_m": 0.0002}
    wide = ESTIMATE | {"camera_length_sigma_m": 0.02, "photon_energy_sigma_ev": 800.0}
    (told,) = contradictions(wide | {"with_photon_energy": ratio}, GEOMETRY, {})
    assert "the water says camera length 153.5 ± 0.2 mm, 150 mm was used" in told
    for unsure in ({"camera_length_sigma_m": 0.001}, {"flag": "few-photons"}):
        assert contradictions(wide | {"with_photon_energy": ratio | unsure}, GEOMETRY, {}) == []
    drifting = ESTIMATE | {"drift": {"drifts": True}}
    assert contradictions(drifting, GEOMETRY, {}) == [
        "photon energy or camera length drifts in the run"
    ]


def test_what_a_live_run_has_seen_counts():
    drift = {"words": ["photon energy +60 eV"], "against_set": ["off"], "first_seen_at_frame": 7}
    rate = {"searched": 40, "indexed": 30, "by_chance": 1, "skipped": 60}
    live = {"live": {"drift": drift, "index_rate": rate}}
    at_work = RUN | {"estimated_geometry": None} | live
    found = HitEvidence(GRID).evidence(at_work)
    assert found.geometry == ("off", "photon energy +60 eV")
    assert found.index == IndexRate(40, 30, 1)
    # At the end the estimate of the whole run says what speaks against the set values.
    ended = at_work | {"estimated_geometry": ESTIMATE}
    assert HitEvidence(GRID).evidence(ended).geometry == ("photon energy +60 eV",)
    drift["words"] = []
    (said,) = HitEvidence(GRID).evidence(ended).geometry
    assert said == "photon energy or camera length had drifted at about frame 7, and came back"
    drift["first_seen_at_frame"], rate["searched"] = None, 0
    found = HitEvidence(GRID).evidence(ended)
    assert (found.geometry, found.index) == ((), None)
