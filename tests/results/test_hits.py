"""Hits of a run, with what belongs to them."""

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.geometry.detector import Detector, Panel


def test_hits_are_where_the_run_had_them_on_a_panel_that_is_tilted(tmp_path):
    """Its first corner lies farther from the sample than where the beam meets it."""
    cos, sin = np.cos(0.2), np.sin(0.2)
    panel = Panel("p", 0, 0, 96, 96, -30.0, -48.0, (cos, 0, -sin), (0, 1, 0), 1e-4, 0.0006)
    geometry = hf.Geometry(Detector("tilted", (96, 96), (panel,)), 0.05, 8000.0)
    frames = np.zeros((1, 96, 96), np.uint16)
    frames[0, 10:90:16, 10:90:16] = 30
    run = hf.run(
        frames, tmp_path / "run", geometry=geometry, finder="likelihood", workers=1, estimate=False
    )
    (found,) = run.hits().geometries()
    place = np.array([5.0, 40.0, 90.0]), np.array([80.0, 30.0, 5.0])
    wanted = geometry.scattering_vectors(*place)
    assert found.scattering_vectors(*place) == pytest.approx(wanted, abs=1e-7)
    assert run.geometry.scattering_vectors(*place) == pytest.approx(wanted, abs=1e-7)
