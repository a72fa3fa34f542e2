"""Settings of a simulation, and the limits of what may be drawn for each shot."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from hitfinder.simulation.beam import Shape
from hitfinder.simulation.distributions import Value, fixed

POLARISATIONS: dict[str, float | None] = {
    "horizontal": 1.0,
    "vertical": 0.0,
    "circular": 0.5,
    "none": 0.5,
    "off": None,
}
"""Fraction polarised along x; circular and unpolarised light scatter alike, off leaves it out."""


@dataclass(frozen=True)
class BeamSettings:
    """The pulses.

    Parameters
    ----------
    photon_energy_ev : Value
        Mean photon energy, in eV.
    bandwidth : Value
        Relative bandwidth: full width of a top-hat, full width at half maximum otherwise.
    spectrum : str
        ``tophat``, ``gaussian``, ``two-colour``, ``sase``, ``inverse-compton``, or a file of
        energy and density, whose mean is moved to `photon_energy_ev`.
    separation, modes, tail : float, int, float
        Distance of two colours relative to the energy; spikes of a SASE pulse; tail of an
        inverse-Compton line in bandwidths.
    flux : Value
        Photons per pulse.
    radius_um : Value
        Radius of the disc, or distance from the axis at which a Gaussian beam falls to exp(-2).
    profile : {"disc", "gaussian"}
        Beam profile.
    polarisation : {"horizontal", "vertical", "circular", "none", "off"}
        Along x, along y, circular, unpolarised; ``off`` leaves the factor out.
    divergence_mrad : Value
        Standard deviation of the direction about each axis, in mrad.
    """

    photon_energy_ev: Value = field(default=fixed(6000))
    bandwidth: Value = field(default=fixed(0.01))
    spectrum: str = "tophat"
    separation: float = 0.02
    modes: int = 30
    tail: float = 0.5
    flux: Value = field(default=fixed(3e8))
    radius_um: Value = field(default=fixed(5))
    profile: Literal["disc", "gaussian"] = "disc"
    polarisation: Literal["horizontal", "vertical", "circular", "none", "off"] = "horizontal"
    divergence_mrad: Value = field(default=fixed(0))


@dataclass(frozen=True)
class CrystalSettings:
    """The crystals.

    Parameters
    ----------
    structure : str
        ``1ic6`` for the packaged table, ``random`` for Wilson statistics (needs `cell` and
        `space_group`), or a PDB, CIF, MTZ or CrystFEL ``.hkl`` file.
    column : str
        Column of an MTZ file; the first amplitude or intensity if empty.
    cell : str
        ``a,b,c[,alpha,beta,gamma]`` in Å and degrees, instead of the structure's own.
    space_group : str
        For ``random`` and ``.hkl``.
    d_min_a : float
        Finest resolution to compute, in Å.
    size_um : Value
        Edge (diameter of a sphere), in µm.
    aspect : tuple of float
        Edges along a, b and c in units of the size.
    shape : {"gaussian", "parallelepiped", "sphere"}
        Shape of a lattice point; the last two show fringes and need small crystals.
    fringes : int
        Fringes drawn to each side.
    mosaicity_deg : Value
        Standard deviation of the turns of mosaic blocks about any axis, in degrees.
    count : Value
        Crystals in a shot, rounded.
    offset_x_um, offset_y_um : Value
        Position of a crystal in the beam, in µm.
    illumination : {"overlap", "full"}
        Photons by the share of the crystal that lies in the beam, or as if all of it saw the
        beam's intensity at its centre.
    orientations : str
        CSV file of reciprocal axes, one row per frame, used again from the start when it ends;
        random orientations if empty.
    """

    structure: str = "1ic6"
    column: str = ""
    cell: str = ""
    space_group: str = ""
    d_min_a: float = 1.5
    size_um: Value = field(default=fixed(10))
    aspect: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shape: Shape = "gaussian"
    fringes: int = 10
    mosaicity_deg: Value = field(default=fixed(0))
    count: Value = field(default=fixed(1))
    offset_x_um: Value = field(default=fixed(0))
    offset_y_um: Value = field(default=fixed(0))
    illumination: Literal["overlap", "full"] = "overlap"
    orientations: str = ""

    def __post_init__(self) -> None:
        if not (min(self.aspect) > 0 and all(map(math.isfinite, self.aspect))):
            raise ValueError(f"aspect must be positive, got {self.aspect}")
        if not self.d_min_a > 0:
            raise ValueError(f"d_min_a must be positive, got {self.d_min_a}")
        if not 1 <= self.fringes <= 100:
            raise ValueError(f"fringes must be in 1..100, got {self.fringes}")
        if self.structure == "random" and not (self.cell and self.space_group):
            raise ValueError("structure 'random' needs cell and space_group")


@dataclass(frozen=True)
class BackgroundSettings:
    """What scatters besides crystals.

    Parameters
    ----------
    water_um, temperature_c : Value
        Thickness of liquid water, in µm, and its temperature in °C.
    air_m : Value
        Path in air behind the sample, in m.
    protein_mg_ml : Value
        Protein dissolved in the water.
    protein_kda : float
        Mass of a molecule of it.
    ice_um : Value
        Thickness of ice powder, in µm.
    ice_width_inv_a : float
        Standard deviation of an ice ring in q, in Å⁻¹.
    uniform : Value
        Photons per pixel and pulse everywhere.
    shots : Value
        Pulses whose background a frame sums, rounded; Bragg photons are those of one pulse.
    """

    water_um: Value = field(default=fixed(10))
    temperature_c: Value = field(default=fixed(25))
    air_m: Value = field(default=fixed(0))
    protein_mg_ml: Value = field(default=fixed(0))
    protein_kda: float = 28.9
    ice_um: Value = field(default=fixed(0))
    ice_width_inv_a: float = 0.01
    uniform: Value = field(default=fixed(0))
    shots: Value = field(default=fixed(1))

    def __post_init__(self) -> None:
        if not (self.protein_kda > 0 and self.ice_width_inv_a > 0):
            raise ValueError("protein_kda and ice_width_inv_a must be positive")


@dataclass(frozen=True)
class DetectorSettings:
    """The detector.

    Parameters
    ----------
    name : str
        Known detector, or a CrystFEL ``.geom`` file.
    camera_length_m : Value
        Distance from sample to detector, in m.
    beam_center : tuple of float, optional
        Where the beam axis meets the frame (fs, ss), in pixels; the detector's own otherwise.
    shift_fs_px, shift_ss_px : Value
        Shift of the beam from there, in pixels.
    psf_px : Value
        Standard deviation of the point spread, in pixels.
    bits : int
        8, 16 or 32.
    dead_fraction, hot_fraction, hot_counts, most_counts, one_count_per_pulse
        See `hitfinder.simulation.effects.DetectorEffects`.
    read_noise, common_mode, shared_fraction, adu_per_photon, whole_adu
        Of a detector that does not count, see `hitfinder.simulation.analog.ChargeReadOut`.
    beam_stop_mm, beam_stop_arm_mm, beam_stop_arm_deg : float
        Radius and arm of the beam stop's shadow, see `hitfinder.simulation.effects.BeamStop`.
    """

    name: str = "eiger2-x-4m"
    camera_length_m: Value = field(default=fixed(0.15))
    beam_center: tuple[float, float] | None = None
    shift_fs_px: Value = field(default=fixed(0))
    shift_ss_px: Value = field(default=fixed(0))
    psf_px: Value = field(default=fixed(0))
    bits: int = 16
    dead_fraction: float = 0.0
    hot_fraction: float = 0.0
    hot_counts: float = 1000.0
    most_counts: float = 0.0
    one_count_per_pulse: bool = False
    read_noise: float = 0.0
    common_mode: float = 0.0
    shared_fraction: float = 0.0
    adu_per_photon: float = 1.0
    whole_adu: bool = False
    beam_stop_mm: float = 0.0
    beam_stop_arm_mm: float = 0.0
    beam_stop_arm_deg: float = 90.0


@dataclass(frozen=True)
class SimulationSettings:
    """A whole simulation.

    Parameters
    ----------
    seed : int
        Fixes every frame.
    blank_fraction : float
        Share of frames without a crystal.
    bragg_scale : Value
        Factor on the photons of Bragg spots.
    noise : bool
        Whether to count photons; otherwise frames hold expected photons.
    min_photons : float
        Fewest expected photons of a spot in the truth.
    beam, crystal, background, detector
        The parts.
    """

    seed: int = 0
    blank_fraction: float = 0.0
    bragg_scale: Value = field(default=fixed(1))
    noise: bool = True
    min_photons: float = 1.0
    beam: BeamSettings = BeamSettings()
    crystal: CrystalSettings = CrystalSettings()
    background: BackgroundSettings = BackgroundSettings()
    detector: DetectorSettings = DetectorSettings()

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if not 0 <= self.blank_fraction <= 1:
            raise ValueError(f"blank_fraction must be in 0..1, got {self.blank_fraction}")
        if not self.min_photons >= 0:
            raise ValueError(f"min_photons must not be negative, got {self.min_photons}")
        for name, (low, high) in LIMITS.items():
            value = self.value(name)
            # The tails of a normal distribution are cut when drawing; its middle must be possible.
            ends = [end for end in (*value.extremes, value.nominal) if math.isfinite(end)]
            if min(ends) < low or max(ends) > high:
                raise ValueError(f"{name} must be {_range(low, high)}, got {value}")

    def value(self, name: str) -> Value:
        """Return a drawn parameter by its dotted name."""
        part: Any = self
        for step in name.split("."):
            part = getattr(part, step)
        return part

    @property
    def polarisation(self) -> float | None:
        """Fraction polarised along x, or None to leave the factor out."""
        return POLARISATIONS[self.beam.polarisation]


_TINY = 1e-12
LIMITS: dict[str, tuple[float, float]] = {
    "bragg_scale": (0, math.inf),
    "beam.photon_energy_ev": (100, 1e6),
    "beam.bandwidth": (0, 1.99),
    "beam.flux": (0, math.inf),
    "beam.radius_um": (_TINY, math.inf),
    "beam.divergence_mrad": (0, 100),
    "crystal.size_um": (1e-3, 1e5),
    "crystal.mosaicity_deg": (0, 10),
    "crystal.count": (0, 1000),
    "crystal.offset_x_um": (-math.inf, math.inf),
    "crystal.offset_y_um": (-math.inf, math.inf),
    "background.water_um": (0, math.inf),
    "background.temperature_c": (1, 77),
    "background.air_m": (0, math.inf),
    "background.protein_mg_ml": (0, 1500),
    "background.ice_um": (0, math.inf),
    "background.uniform": (0, math.inf),
    "background.shots": (0, math.inf),
    "detector.camera_length_m": (1e-3, 20),
    "detector.shift_fs_px": (-math.inf, math.inf),
    "detector.shift_ss_px": (-math.inf, math.inf),
    "detector.psf_px": (0, 20),
}
"""Least and largest allowed value of each parameter that may be drawn."""


def _range(low: float, high: float) -> str:
    if low == _TINY:
        return "positive"
    if math.isinf(high):
        return "not negative" if low == 0 else f"at least {low:g}"
    return f"in {low:g} to {high:g}"
