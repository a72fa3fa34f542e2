"""A detector at a distance in a beam: everything that places a pixel in reciprocal space."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.named import named_detector
from hitfinder.units import unusual, wavelength_from_energy

Floats = NDArray[np.float64]

_ROWS_AT_A_TIME = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
    """A detector, its camera length, and the beam.

    Parameters
    ----------
    detector : Detector
        Panels, mask and frame shape.
    camera_length_m : float
        Distance from sample to detector, in m.
    photon_energy_ev : float
        Mean photon energy, in eV.
    polarisation : float
        Fraction of the beam polarised along x: 1 horizontal, 0 vertical, 0.5 none.
    """

    detector: Detector
    camera_length_m: float
    photon_energy_ev: float
    polarisation: float = 1.0

    def __post_init__(self) -> None:
        if not (self.camera_length_m > 0 and np.isfinite(self.camera_length_m)):
            raise ValueError(f"camera length must be positive, got {self.camera_length_m} m")
        wavelength_from_energy(self.photon_energy_ev)
        if not 0 <= self.polarisation <= 1:
            raise ValueError(f"polarisation must be in 0..1, got {self.polarisation}")

    def __repr__(self) -> str:
        """Say the size and the beam, not every panel."""
        pixels = " x ".join(map(str, self.shape))
        beam = f"{self.camera_length_m:g} m, {self.photon_energy_ev:g} eV"
        return f"<Geometry: {self.detector.name}, {pixels} pixels, {beam}>"

    @classmethod
    def flat(
        cls,
        shape: tuple[int, int],
        pixel_size_m: float,
        *,
        camera_length_m: float,
        photon_energy_ev: float,
        beam_center: tuple[float, float] | None = None,
        mask: NDArray[np.bool_] | None = None,
        saturation: float | None = None,
        polarisation: float = 1.0,
    ) -> Geometry:
        """Make the geometry of one flat panel across the beam.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns (ss, fs) of a frame.
        pixel_size_m : float
            Pixel edge, in m.
        camera_length_m : float
            Distance from sample to detector, in m.
        photon_energy_ev : float
            Mean photon energy, in eV.
        beam_center : tuple of float, optional
            Where the beam meets the frame (fs, ss), in pixels, first pixel's centre at 0.5; the
            middle of the frame if not given.
        mask : ndarray of bool, optional
            True where a pixel is to be ignored, in all frames.
        saturation : float, optional
            Counts at and above which a pixel is saturated.
        polarisation : float
            Fraction of the beam polarised along x: 1 horizontal, 0 vertical, 0.5 none.

        Raises
        ------
        ValueError
            If a value is impossible, or most likely in another unit.

        Examples
        --------
        >>> import hitfinder as hf
        >>> geometry = hf.Geometry.flat(
        ...     (512, 512), 75e-6, camera_length_m=0.1, photon_energy_ev=6000
        ... )
        >>> geometry.shape, round(geometry.wavelength_a, 4)
        ((512, 512), 2.0664)
        """
        if pixel_size_m > 0 and (doubt := unusual("pixel_size_m", pixel_size_m)):
            raise ValueError(doubt)
        detector = Detector.flat(shape, pixel_size_m, mask=mask, saturation=saturation)
        return _placed(cls, detector, beam_center, camera_length_m, photon_energy_ev, polarisation)

    @classmethod
    def named(
        cls,
        detector: str,
        *,
        camera_length_m: float,
        photon_energy_ev: float,
        beam_center: tuple[float, float] | None = None,
        mask: NDArray[np.bool_] | None = None,
        polarisation: float = 1.0,
    ) -> Geometry:
        """Make the geometry of a detector that is known by name.

        Parameters
        ----------
        detector : str
            One of `hitfinder.detectors`.
        camera_length_m, photon_energy_ev, beam_center, polarisation
            As for `flat`.
        mask : ndarray of bool, optional
            True where a pixel is to be ignored, besides the gaps between modules.

        Raises
        ------
        ValueError
            If a value is impossible, or most likely in another unit.
        GeometryError
            If there is no such detector.

        Examples
        --------
        >>> import hitfinder as hf
        >>> geometry = hf.Geometry.named(
        ...     "eiger2-x-1m", camera_length_m=0.15, photon_energy_ev=7000
        ... )
        >>> geometry.shape
        (1062, 1028)
        """
        found = named_detector(detector)
        if mask is not None:
            found = found.with_mask(np.asarray(mask) != 0)
        return _placed(cls, found, beam_center, camera_length_m, photon_energy_ev, polarisation)

    @property
    def wavelength_a(self) -> float:
        """Wavelength, in Å."""
        return wavelength_from_energy(self.photon_energy_ev)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.detector.shape

    @property
    def pixel_inv_a(self) -> float:
        """What a pixel of the first panel spans in reciprocal space near the beam, in Å⁻¹."""
        width = self.detector.panels[0].pixel_size_m
        return width / (self.camera_length_m * self.wavelength_a)

    @property
    def pixels(self) -> PixelMaps:
        """Per-pixel maps at the pixel centres."""
        # Made anew: a geometry that held what holds it would be freed late, with maps kept for it.
        return PixelMaps(self)

    @functools.cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """First and end row, first and end column of the panels, shape (4, n_panels, 1)."""
        slices = [panel.slices for panel in self.detector]
        bounds = [(ss.start, ss.stop, fs.start, fs.stop) for ss, fs in slices]
        return np.array(bounds, np.int64).T[:, :, None]

    def scattering_vectors(
        self, fs: NDArray[np.floating], ss: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Scattering vectors (s - s0) / λ at stored-frame positions (corner convention), in Å⁻¹.

        Their length is one over the resolution; there is no factor 2π. Positions on no panel give
        NaN.

        Returns
        -------
        ndarray, shape (n, 3)
        """
        fs, ss = np.atleast_1d(np.asarray(fs, float)), np.atleast_1d(np.asarray(ss, float))
        out = np.full((*fs.shape, 3), np.nan)
        for panel in self.detector:
            on = (fs >= panel.fs_start) & (fs < panel.fs_start + panel.n_fs)
            on &= (ss >= panel.ss_start) & (ss < panel.ss_start + panel.n_ss)
            if not on.any():
                continue
            place = np.stack(panel.positions(fs[on], ss[on], self.camera_length_m), axis=-1)
            out[on] = place / np.linalg.norm(place, axis=-1, keepdims=True) - [0.0, 0.0, 1.0]
        return out / self.wavelength_a

    def resolution_a(
        self, fs: NDArray[np.floating], ss: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Resolution d = λ / (2 sin θ) at stored-frame positions (corner convention), in Å.

        Positions on no panel give NaN.
        """
        with np.errstate(divide="ignore"):
            return 1 / np.linalg.norm(self.scattering_vectors(fs, ss), axis=-1)


def _placed(
    cls: type[Geometry],
    detector: Detector,
    beam_center: tuple[float, float] | None,
    camera_length_m: float,
    photon_energy_ev: float,
    polarisation: float,
) -> Geometry:
    """Put a detector into the beam."""
    given = (("camera_length_m", camera_length_m), ("photon_energy_ev", photon_energy_ev))
    for name, value in given:
        if value > 0 and (doubt := unusual(name, value)):
            raise ValueError(doubt)
    if beam_center is not None:
        fs, ss = beam_center
        if not np.isfinite([fs, ss]).all():
            raise ValueError(f"beam_center must be finite, got {beam_center}")
        detector = detector.with_beam_center(fs, ss)
    return cls(detector, camera_length_m, photon_energy_ev, polarisation)


class PixelMaps:
    """Maps over the stored frame, float32, shape of the frame; NaN on no panel.

    They are computed each time they are asked for: a map of a large detector takes tens of
    megabytes in every process. Of a few pixels `at` tells the places.

    Parameters
    ----------
    geometry : Geometry
        Whose pixels.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry

    @property
    def x(self) -> NDArray[np.float32]:
        """Lab position of the pixel centre, to the left looking from the source, in m."""
        return self._map(lambda panel, x, y, z: x)

    @property
    def y(self) -> NDArray[np.float32]:
        """Lab position of the pixel centre, upwards, in m."""
        return self._map(lambda panel, x, y, z: y)

    @property
    def z(self) -> NDArray[np.float32]:
        """Lab position of the pixel centre along the beam, in m."""
        return self._map(lambda panel, x, y, z: z)

    def at(
        self, ss: NDArray[np.integer], fs: NDArray[np.integer]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `x` and `y` have at some pixels, in m; NaN on no panel.

        Parameters
        ----------
        ss, fs : ndarray of int, shape (n,)
            Rows and columns of the pixels.
        """
        x, y = np.full((2, len(ss)), np.nan, np.float32)
        first_ss, end_ss, first_fs, end_fs = self._geometry._bounds
        inside = (first_ss <= ss) & (ss < end_ss) & (first_fs <= fs) & (fs < end_fs)
        panel, pixel = np.nonzero(inside)
        for number in np.unique(panel):
            on = pixel[panel == number]
            place = self._geometry.detector.panels[number].positions(
                fs[on] + 0.5, ss[on] + 0.5, self._geometry.camera_length_m
            )
            x[on], y[on] = place[:2]
        return x, y

    @property
    def two_theta(self) -> NDArray[np.float32]:
        """Scattering angle, in rad."""
        return self._map(lambda panel, x, y, z: np.arctan2(np.hypot(x, y), z))

    @property
    def q(self) -> NDArray[np.float32]:
        """Scattering vector 4π sin θ / λ, in Å⁻¹."""
        return self.optics()[0]

    @property
    def solid_angle(self) -> NDArray[np.float32]:
        """Solid angle, in sr: p² cos(α) / R², α between the ray and the panel normal."""
        return self.optics()[1]

    @property
    def polarisation(self) -> NDArray[np.float32]:
        """P = 1 − f (x/R)² − (1 − f)(y/R)² for a fraction f polarised along x.

        Classical dipole radiation; Jackson, Classical Electrodynamics, 3rd ed., section 14.8.
        """
        return self.optics()[2]

    def optics(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return `q`, `solid_angle` and `polarisation` in about the time of one of them."""
        # Numba is slow to import, and who only places pixels does without.
        from hitfinder.geometry.optics import fill_optics

        geometry = self._geometry
        q, solid_angle, polarisation = (
            np.full(geometry.shape, np.nan, np.float32) for _ in range(3)
        )
        for panel in geometry.detector:
            on = panel.slices
            fill_optics(
                *(panel, geometry.camera_length_m, geometry.wavelength_a, geometry.polarisation),
                *(q[on], solid_angle[on], polarisation[on]),
            )
        return q, solid_angle, polarisation

    def _map(self, of: Callable[[Panel, Floats, Floats, Floats], Floats]) -> NDArray[np.float32]:
        """Fill a map with a function of panel and place (x, y, z), some rows at a time.

        In double precision whole panels would take hundreds of megabytes.
        """
        geometry = self._geometry
        out = np.full(geometry.shape, np.nan, np.float32)
        for panel in geometry.detector:
            rows, columns = panel.slices
            fs = np.arange(columns.start, columns.stop)[None, :] + 0.5
            for start in range(rows.start, rows.stop, _ROWS_AT_A_TIME):
                band = slice(start, min(start + _ROWS_AT_A_TIME, rows.stop))
                ss = np.arange(band.start, band.stop)[:, None] + 0.5
                place = panel.positions(fs, ss, geometry.camera_length_m)
                out[band, columns] = of(panel, *place)
        return out
