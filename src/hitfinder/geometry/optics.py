"""What the pixels of a panel get of the scattered beam, in one compiled pass over them."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.geometry.detector import Panel

Map = NDArray[np.float32]


def fill_optics(
    panel: Panel,
    camera_length_m: float,
    wavelength_a: float,
    fraction: float,
    q: Map,
    solid_angle: Map,
    polarisation: Map,
) -> None:
    """Fill the part of three maps that a panel takes.

    Parameters
    ----------
    panel : Panel
        The panel.
    camera_length_m : float
        Distance from sample to detector, in m.
    wavelength_a : float
        Wavelength, in Å.
    fraction : float
        Fraction of the beam polarised along x.
    q, solid_angle, polarisation : ndarray of float32, shape of the panel
        What `hitfinder.geometry.geometry.PixelMaps` says of its pixels, in Å⁻¹, sr and 1.
    """
    first, along_fs, along_ss = lattice_m(panel, camera_length_m)
    normal = np.cross(panel.fs_vector, panel.ss_vector)
    # The plane has the same distance from the sample everywhere.
    area = panel.pixel_size_m**2 * abs(float(normal @ first))
    _fill(
        *(first, along_fs, along_ss, area, 4 * math.pi / wavelength_a, fraction),
        *(q, solid_angle, polarisation),
    )


def lattice_m(
    panel: Panel, camera_length_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the centre of a panel's first pixel, and the steps along fs and ss, in m.

    Parameters
    ----------
    panel : Panel
        The panel.
    camera_length_m : float
        Distance from sample to detector, in m.
    """
    middle = np.array([panel.fs_start + 0.5]), np.array([panel.ss_start + 0.5])
    first = np.concatenate(panel.positions(*middle, camera_length_m))
    along_fs, along_ss = (
        panel.pixel_size_m * np.array(vector, np.float64)
        for vector in (panel.fs_vector, panel.ss_vector)
    )
    return first, along_fs, along_ss


@njit(cache=True, nogil=True)
def _fill(first, along_fs, along_ss, area, scale, fraction, q, solid_angle, polarisation):  # type: ignore[no-untyped-def]
    for j in range(q.shape[0]):
        x0 = first[0] + j * along_ss[0]
        y0 = first[1] + j * along_ss[1]
        z0 = first[2] + j * along_ss[2]
        for i in range(q.shape[1]):
            x = x0 + i * along_fs[0]
            y = y0 + i * along_fs[1]
            z = z0 + i * along_fs[2]
            across = x * x + y * y
            square = across + z * z
            distance = math.sqrt(square)
            # sin θ of the half angle; of the two forms the one that loses no digits.
            if z > 0:
                sine = math.sqrt(across / (2 * distance * (distance + z)))
            else:
                sine = math.sqrt(0.5 - 0.5 * z / distance)
            q[j, i] = scale * sine
            solid_angle[j, i] = area / (square * distance)
            polarisation[j, i] = 1 - (fraction * x * x + (1 - fraction) * y * y) / square
