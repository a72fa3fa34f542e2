import pytest

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry


@pytest.fixture
def make_geometry():
    """One centred panel, small pixels count, any distance and energy."""

    def make(size=(96, 128), camera_length_m=0.1, energy_ev=7000.0, pixel_size_m=7.5e-4, **changes):
        n_ss, n_fs = size
        panel = Panel("p", 0, 0, n_fs, n_ss, -n_fs / 2, -n_ss / 2, pixel_size_m=pixel_size_m)
        detector = Detector("small", size, (panel,))
        return Geometry(detector, camera_length_m, energy_ev, **changes)

    return make


@pytest.fixture
def tiled_geometry():
    """Four tilted panels with gaps, stored with a stripe that is on no panel."""
    panels = []
    for n in range(4):
        x, y = (n % 2) * 45 - 42, (n // 2) * 35 - 33
        tilt = 0.2 * (n - 1.5)
        panels.append(
            Panel(
                f"p{n}",
                (n % 2) * 40,
                (n // 2) * 32,
                40,
                30,
                x,
                y,
                fs_vector=(1.0, 0.01 * n, tilt),
                ss_vector=(-0.01 * n, 1.0, 0.1),
                pixel_size_m=1e-3,
                coffset_m=0.002 * n,
            )
        )
    return Geometry(Detector("tiled", (62, 80), tuple(panels)), 0.08, 8000.0)
