import json

import numpy as np
import pytest

from hitfinder.network.calibration import STRENGTHS, Calibration, roughness


@pytest.fixture
def calibration():
    logits, evidence = np.array([0.0, 2.0, 4.0]), np.array([0.0, 3.0])
    return Calibration(
        log_background=np.log([0.01, 1.0]),
        log_odds=np.array([0.0, 2.0]),
        logits=logits,
        log_share=np.array([-logits, -1 - logits]),
        log_count=np.log([[10.0, 1000.0], [20.0, 2000.0]]),
        evidence=evidence,
        log_blanks=np.array([-1 - evidence, -2 - evidence]),
        log_usual=np.stack([np.full(STRENGTHS.size, -3.0), np.full(STRENGTHS.size, -1.0)]),
        size_power=0.5,
        hit_evidence=np.array([-2.0, 2.0]),
        log_hit_odds=np.array([-3.0, 5.0]),
    )


def test_tables_are_interpolated_in_the_logarithm_of_the_background(calibration):
    assert calibration.log_ratio(np.array([3.0]), 0.01) == pytest.approx([3.0])
    assert calibration.log_ratio(np.array([3.0]), 0.1) == pytest.approx([2.0])
    assert calibration.log_ratio(np.array([3.0]), 1.0) == pytest.approx([1.0])
    assert calibration.log_chance(np.array([1.0]), 0.1, 20.0) == pytest.approx([np.log(20) - 1.5])


def test_chance_grows_with_the_frame_and_its_roughness(calibration):
    assert calibration.chance_count(0.01, 0.0, 1_000_000) == pytest.approx(10)
    assert calibration.chance_count(0.1, 0.0, 1_000_000) == pytest.approx(100)
    assert calibration.chance_count(0.01, 0.0, 4_000_000) == pytest.approx(20)
    assert calibration.chance_count(0.01, 1.0, 1_000_000) == pytest.approx(20)
    assert calibration.chance_count(0.01, 1e-4, 1_000_000) == pytest.approx(200**0.5)


def test_roughness_is_from_none_to_one():
    assert roughness(np.array([0.0, 1e-6, 1e-4, 1e-3, 5.0])) == pytest.approx([0, 0, 0.5, 1, 1])


def test_usual_strengths_are_interpolated_too(calibration):
    assert calibration.log_usual_strengths(0.1) == pytest.approx(np.full(STRENGTHS.size, -2.0))


def test_beyond_the_tables_the_nearest_row_holds(calibration):
    assert calibration.log_ratio(np.array([3.0]), 1e-6) == pytest.approx([3.0])
    assert calibration.log_ratio(np.array([3.0]), 1e3) == pytest.approx([1.0])


def test_tails_go_on_as_a_likelihood_ratio_does(calibration):
    chance = calibration.log_chance(np.array([4.0, 9.0]), 0.01, 1.0)
    assert chance[1] - chance[0] == pytest.approx(-5.0)
    far, end = (calibration.log_blank_share(e, 1.0) for e in (13.0, 3.0))
    assert far - end == pytest.approx(-10.0)


def test_less_evidence_than_any_blank_has_is_no_sign_of_a_hit(calibration):
    assert calibration.log_blank_share(-0.5, 1.0) == 0.0


def test_a_share_of_blanks_is_no_more_than_all(calibration):
    raised = calibration.log_blanks + 5
    odd = Calibration(**{**vars(calibration), "log_blanks": raised})
    assert odd.log_blank_share(0.0, 1.0) == 0.0


def test_hit_odds_are_interpolated_and_end_where_they_were_measured(calibration):
    assert calibration.hit_log_odds(0.0) == 1.0
    assert calibration.hit_log_odds(-50.0) == -3.0
    assert calibration.hit_log_odds(50.0) == 5.0


def test_comes_back_from_json(calibration):
    back = Calibration.from_json(json.loads(json.dumps(calibration.to_json())))
    for name, value in vars(calibration).items():
        assert getattr(back, name) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"logits": [0.0, 1.0]},
        {"log_odds": [1.0]},
        {"log_count": [1.0, 2.0]},
        {"log_hit_odds": [1.0]},
        {"evidence": []},
        {"log_usual": [[0.0], [0.0]]},
    ],
)
def test_tables_that_do_not_fit_are_refused(calibration, change):
    with pytest.raises(ValueError, match="shape"):
        Calibration.from_json(calibration.to_json() | change)


def test_nan_background_is_no_error(calibration):
    assert np.isfinite(calibration.log_blank_share(1.0, float("nan")))


def test_peaks_follow_their_line(calibration):
    p = np.array([0.2, 0.9, 1.0])
    assert calibration.peak_probability(p) == pytest.approx(p)
    odd = Calibration(**{**vars(calibration), "peak_gain": 2.0, "peak_offset": 1.0})
    got = odd.peak_probability(p[:2])
    assert np.log(got / (1 - got)) == pytest.approx(2 * np.log(p[:2] / (1 - p[:2])) + 1)
    assert odd.peak_probability(np.empty(0)).size == 0
