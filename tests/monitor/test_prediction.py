import h5py
import numpy as np

from hitfinder.crystal.orientation import COLUMNS
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.monitor.layout import Layout
from hitfinder.monitor.prediction import predicted


def test_reflections_are_where_another_program_puts_them(pattern_sim):
    """CrystFEL's pattern_sim, 1 % bandwidth: its brightest pixels are at predicted places.

    The frames of long camera lengths, which have few spots, are left out.
    """
    with h5py.File(pattern_sim) as file:
        for index in (0, 1, 2, 3):
            frame = file["entry/data/data"][index]
            axes = [file[f"{name}_inv_m"][index] for name in ("astar", "bstar", "cstar")]
            detector = named_detector("eiger-4m-report")
            geometry = Geometry(
                detector,
                float(file["camera_length_m"][index]),
                float(file["photon_energy_ev"][index]),
            )
            crystal = dict(zip(COLUMNS, np.concatenate(axes), strict=True))
            told = predicted(crystal, Layout(geometry), 0.011, 1.5)
            ss, fs = np.nonzero(frame >= np.partition(frame.ravel(), -40)[-40])
            away = np.hypot(
                np.subtract.outer(fs + 0.5, told["column"]),
                np.subtract.outer(ss + 0.5, told["row"]),
            ).min(axis=1)
            # pattern_sim shows tails of reflections whose peak is beyond the ends of the spectrum.
            assert np.mean(away < 4) > 0.7
            assert np.median(away) < 2
            mirrored = np.hypot(
                np.subtract.outer(2069 - fs - 0.5, told["column"]),
                np.subtract.outer(ss + 0.5, told["row"]),
            ).min(axis=1)
            assert np.median(mirrored) > 50
