"""What the verdict of a run says of a wrong beam centre."""

import numpy as np
import pytest

import hitfinder as hf

SHAPE, CENTER = (200, 240), (125.0, 95.0)
RING_M, WIDTH_M = 4e-3, 2e-3


def geometry(center):
    return hf.Geometry.flat(
        SHAPE, 75e-6, camera_length_m=0.1, photon_energy_ev=9000, beam_center=center
    )


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Frames of a ring about `CENTER`, without peaks."""
    pixels = geometry(CENTER).pixels
    ring = np.exp(-((np.hypot(pixels.x, pixels.y) - RING_M) ** 2) / (2 * WIDTH_M**2))
    path = tmp_path_factory.mktemp("frames") / "ring.npy"
    rng = np.random.default_rng(3)
    np.save(path, rng.poisson(0.3 + 2 * ring, (8, *SHAPE)).astype(np.uint16))
    return path


@pytest.mark.parametrize("center", [CENTER, (100.0, 110.0)])
def test_the_verdict_tells_of_a_wrong_beam_centre(frames, tmp_path, center):
    run = hf.run(
        frames, tmp_path / "run", geometry=geometry(center), finder="likelihood", workers=1
    )
    place = "the background has its centre at about fs 125, ss 95 (± 4 pixels)"
    told = f"{place}, beam centre 100, 110 was used"
    assert (told in run.verdict) == (center != CENTER)
    assert ("background has its centre" in run.verdict) == (center != CENTER)
