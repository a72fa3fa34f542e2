"""The classes keep hitfinder's contracts. Run with pytest, once the package is installed."""

import fabio
import numpy as np
import pytest
from hitfinder_example.finder import SigmaFinder
from hitfinder_example.output import SpotsOutput
from hitfinder_example.reader import SmvReader

from hitfinder import Geometry, testing


def test_finder():
    geometry = Geometry.flat((120, 130), 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    testing.check_finder(SigmaFinder, geometry)


def test_reader(tmp_path):
    frame = np.random.default_rng(0).poisson(1.0, (120, 130)).astype(np.uint16)
    path = tmp_path / "frame.img"
    fabio.adscimage.AdscImage(frame, {"WAVELENGTH": "2.0", "DISTANCE": "50"}).write(str(path))
    testing.check_reader(SmvReader, path)


def test_output():
    testing.check_output(SpotsOutput)


def test_network():
    pytest.importorskip("torch")
    testing.check_network("brightest")
