"""Few frames of which every other one has spots."""

import numpy as np

from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter

SHAPE, N = (96, 100), 24


def write_half_hits(path):
    """Write the frames in files as a detector writes them; return the master's path."""
    rng = np.random.default_rng(3)
    geometry = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    with NexusWriter(path, geometry, np.uint16) as writer:
        for number in range(N):
            frame = rng.poisson(0.05, SHAPE).astype(np.uint16)
            if number % 2 == 0:
                frame[rng.integers(5, 90, 8), rng.integers(5, 90, 8)] += 30
            writer.write(frame)
    return path
