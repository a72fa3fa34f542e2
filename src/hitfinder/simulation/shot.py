"""One shot: the numbers drawn for it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.orientation import random_rotation
from hitfinder.simulation.settings import LIMITS, SimulationSettings

_PER_CRYSTAL = tuple(
    f"crystal.{name}" for name in ("size_um", "mosaicity_deg", "offset_x_um", "offset_y_um")
)
_PER_SHOT = tuple(name for name in LIMITS if not name.startswith("crystal."))
_GRID = 24
"""Points along an edge at which the beam is averaged over a crystal."""


@dataclasses.dataclass(frozen=True, eq=False)
class ShotCrystal:
    """One crystal of a shot.

    Parameters
    ----------
    axes : ndarray, shape (3, 3)
        Columns a*, b*, c* in the lab, in Å⁻¹.
    size_um, mosaicity_deg, offset_x_um, offset_y_um : float
        See `hitfinder.simulation.settings.CrystalSettings`.
    hit_fraction : float
        Mean fluence on the crystal in units of that on the beam's axis.
    """

    axes: NDArray[np.float64]
    size_um: float
    mosaicity_deg: float
    offset_x_um: float
    offset_y_um: float
    hit_fraction: float


@dataclasses.dataclass(frozen=True, eq=False)
class Shot:
    """What one frame was made with; parameters as in the settings.

    Parameters
    ----------
    frame : int
        Number of the frame.
    crystals : tuple of ShotCrystal
        Empty for a blank.
    shots : int
        Pulses whose background the frame sums.
    """

    frame: int
    crystals: tuple[ShotCrystal, ...]
    bragg_scale: float
    photon_energy_ev: float
    bandwidth: float
    flux: float
    radius_um: float
    divergence_mrad: float
    water_um: float
    temperature_c: float
    air_m: float
    protein_mg_ml: float
    ice_um: float
    uniform: float
    shots: int
    camera_length_m: float
    shift_fs_px: float
    shift_ss_px: float
    psf_px: float

    @property
    def is_blank(self) -> bool:
        """Whether there is no crystal."""
        return not self.crystals

    def axis_fluence_m2(self, profile: str) -> float:
        """Photons per m² on the beam's axis.

        ``flux / (π r²)`` for a disc, ``2 flux / (π w²)`` for a Gaussian that falls to exp(-2) at w.
        """
        area = math.pi * (self.radius_um * 1e-6) ** 2
        return self.flux / area * (2.0 if profile == "gaussian" else 1.0)


def draw_shot(
    settings: SimulationSettings,
    frame: int,
    rng: np.random.Generator,
    reciprocal: NDArray[np.float64],
    orientations: NDArray[np.float64] | None = None,
) -> Shot:
    """Draw the parameters of a frame.

    Parameters
    ----------
    settings : SimulationSettings
        What to draw from.
    frame : int
        Number of the frame, from 0.
    rng : numpy.random.Generator
        Source of randomness of this frame.
    reciprocal : ndarray, shape (3, 3)
        Columns a*, b*, c* of the unturned crystal, in Å⁻¹.
    orientations : ndarray, shape (n, 3, 3), optional
        Reciprocal axes to use in turn instead of random ones.
    """
    drawn = {
        name.rsplit(".", 1)[-1]: settings.value(name).draw(rng, *LIMITS[name]) for name in _PER_SHOT
    }
    shots = round(drawn.pop("shots"))
    blank = rng.random() < settings.blank_fraction
    count = round(settings.crystal.count.draw(rng, *LIMITS["crystal.count"]))
    crystals = []
    for number in range(0 if blank else count):
        own = {
            name.rsplit(".", 1)[-1]: settings.value(name).draw(rng, *LIMITS[name])
            for name in _PER_CRYSTAL
        }
        if orientations is None:
            axes = random_rotation(rng) @ reciprocal
        else:
            axes = orientations[(frame * count + number) % len(orientations)]
        share = hit_fraction(
            settings.beam.profile,
            drawn["radius_um"],
            own["size_um"] if settings.crystal.illumination == "overlap" else 0.0,
            (own["offset_x_um"], own["offset_y_um"]),
        )
        crystals.append(ShotCrystal(axes=axes, hit_fraction=share, **own))
    return Shot(frame=frame, crystals=tuple(crystals), shots=shots, **drawn)


def hit_fraction(
    profile: str, radius_um: float, size_um: float, offset_um: tuple[float, float]
) -> float:
    """Return the mean fluence over a crystal in units of that on the beam's axis.

    Parameters
    ----------
    profile : {"disc", "gaussian"}
        Beam profile.
    radius_um : float
        Radius of the disc, or distance at which the Gaussian falls to exp(-2).
    size_um : float
        Edge of the square that the crystal shows to the beam; 0 for a point.
    offset_um : tuple of float
        Centre of the crystal from the axis.
    """
    steps = ((np.arange(_GRID) + 0.5) / _GRID - 0.5) * size_um if size_um > 0 else np.zeros(1)
    r2 = (offset_um[0] + steps[None, :]) ** 2 + (offset_um[1] + steps[:, None]) ** 2
    if profile == "gaussian":
        return float(np.exp(-2 * r2 / radius_um**2).mean())
    return float((r2 <= radius_um**2).mean())
