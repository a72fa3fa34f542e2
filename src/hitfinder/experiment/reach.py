"""How far a detector reaches, and whether that can be meant."""

from __future__ import annotations

import math

import numpy as np

from hitfinder.geometry.geometry import Geometry

COARSEST_A = 12.0
"""Resolution in Å at the edge of the detector beyond which hardly any Bragg peak is on it: the
farthest setting of Everett and Kurth (2024), 0.35 m at 6 keV, reaches 6.7 Å."""

WIDEST_DEG = 75.0
"""Scattering angle at the edge beyond which no flat detector behind a sample stands."""


def doubt(geometry: Geometry) -> str:
    """Say why camera length and photon energy can hardly be right; empty if they can.

    Files whose detector distance was never set state a placeholder, such as 1 mm or 10 m.
    """
    angles = []
    for panel in geometry.detector:
        fs = panel.fs_start + np.array([0, 0, panel.n_fs, panel.n_fs])
        ss = panel.ss_start + np.array([0, panel.n_ss, 0, panel.n_ss])
        x, y, z = panel.positions(fs, ss, geometry.camera_length_m)
        angles.append(np.arctan2(np.hypot(x, y), z).max())
    widest = float(max(angles))
    finest_a = geometry.wavelength_a / (2 * math.sin(widest / 2)) if widest > 0 else math.inf
    if finest_a > COARSEST_A:
        return f"the detector reaches to {finest_a:.3g} Å only"
    if math.degrees(widest) > WIDEST_DEG:
        return f"the detector reaches to a scattering angle of {math.degrees(widest):.0f} degrees"
    return ""
