"""What HDF5 files say about beam and detector, at the places where the formats keep it.

The beam centre of NXmx and Eiger files counts pixels from the outer corner of the first pixel, as
the accompanying translation of the detector shows (centre times pixel size) and as DIALS reads it:
the convention used here, so it is taken over unchanged.
"""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.io.numbers import (
    Values,
    attribute_values,
    dataset_at,
    first_number,
    first_values,
    places,
)
from hitfinder.io.source import Metadata
from hitfinder.units import HC_EV_ANGSTROM

ENERGIES = (
    "entry/instrument/beam/incident_energy",
    "entry/instrument/beam/photon_energy",
    "entry/instrument/detector/detectorSpecific/photon_energy",
    "entry_1/instrument_1/source_1/energy",
    "entry_1/instrument_1/beam_1/photon_energy",
    "entry_1/instrument_1/beam_1/energy",
    "LCLS/photon_energy_eV",
    "photon_energy_ev",
    "photon_energy_eV",
    "photon_energy",
    "entry/photon_energy",
    "entry/data/photon_energy",
)
WAVELENGTHS = (
    "entry/instrument/beam/incident_wavelength",
    "entry/sample/beam/incident_wavelength",
    "entry_1/instrument_1/beam_1/incident_wavelength",
    "LCLS/photon_wavelength_A",
)
DISTANCES = (
    "{detector}/detector_distance",
    "{detector}/distance",
    "camera_length_m",
    "clen",
    "entry/clen",
    "entry/data/clen",
)
LENGTHS_M = {"m": 1.0, "metre": 1.0, "meter": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6}
ENERGIES_EV = {"ev": 1.0, "kev": 1e3, "mev": 1e6, "j": 1 / 1.602176634e-19}
WAVELENGTHS_A = {"angstrom": 1.0, "å": 1.0, "a": 1.0, "nm": 10.0, "m": 1e10}

MAX_UNITLESS_DISTANCE_M = 20.0
"""A camera length without a unit beyond this is taken to be in mm."""


def read_metadata(file: h5py.File, dtype: np.dtype, n_frames: int) -> Metadata:
    """Read what a file says about its frames, but for the mask; see `hitfinder.io.masks`.

    Parameters
    ----------
    file : h5py.File
        A master, CXI or other HDF5 file.
    dtype : numpy.dtype
        Type of the counts.
    n_frames : int
        Number of frames, which arrays of values should have as many of.
    """
    pixel = read_pixel_size(file)
    energies, lengths = _energies(file), _lengths(file)
    return Metadata(
        photon_energy_ev=None if energies is None else float(np.median(energies.values)),
        camera_length_m=None if lengths is None else float(np.median(lengths.values)),
        beam_center=read_beam_center(file, pixel),
        pixel_size_m=pixel,
        saturation=read_saturation(file, dtype),
        underload=first_number(file, "{detector}/underload_value"),
        detector=read_text(file, "{detector}/description"),
        notes=_oddities(energies, lengths, n_frames),
    )


def _oddities(energies: Values | None, lengths: Values | None, n_frames: int) -> tuple[str, ...]:
    """Say where not every frame gets a value of its own from an array of values."""
    notes = []
    for name, found in (("photon energy", energies), ("camera length", lengths)):
        if found is None:
            continue
        where, n = f"the {name} at {found.place}", len(found.values)
        if n not in (1, n_frames):
            notes.append(f"{where} has {n} values for {n_frames} frames; all get their median")
        if found.n_bad:
            notes.append(
                f"{where} is no positive number in {found.n_bad} of {n} values; the median of the "
                "others stands in for them"
            )
    return tuple(notes)


def photon_energies_ev(file: h5py.File) -> NDArray[np.float64] | None:
    """Return the photon energy in eV, one value or one for each frame; None if none is given."""
    found = _energies(file)
    return None if found is None else found.values


def camera_lengths_m(file: h5py.File) -> NDArray[np.float64] | None:
    """Return the camera length in m, one value or one for each frame; None if none is given."""
    found = _lengths(file)
    return None if found is None else found.values


def _energies(file: h5py.File) -> Values | None:
    """Find the photon energy, and turn it to eV."""
    found = first_values(file, ENERGIES)
    if found is None and (waves := first_values(file, WAVELENGTHS)) is not None:
        wavelengths = waves.values * WAVELENGTHS_A.get(waves.unit.lower(), 1.0)
        return waves._replace(values=HC_EV_ANGSTROM / wavelengths)
    found = found or attribute_values(file, "photon_energy")
    return None if found is None else found._replace(values=_to_ev(found.values, found.unit))


def _lengths(file: h5py.File) -> Values | None:
    """Find the camera length, and turn it to m."""
    found = first_values(file, DISTANCES) or attribute_values(file, "clen")
    if found is None:
        return None
    values, unit = found.values, found.unit.lower()
    if unit in LENGTHS_M:
        return found._replace(values=values * LENGTHS_M[unit])
    in_mm = np.median(values) > MAX_UNITLESS_DISTANCE_M
    return found._replace(values=values / 1e3) if in_mm else found


def _to_ev(values: NDArray[np.float64], unit: str) -> NDArray[np.float64]:
    """Convert energies to eV; without a unit, the size tells J (below 1e-9) and keV (below 200).

    CXI files give J without saying so.
    """
    if unit.lower() in ENERGIES_EV:
        return values * ENERGIES_EV[unit.lower()]
    size = float(np.median(values))
    return values * (ENERGIES_EV["j"] if size < 1e-9 else 1e3 if size < 200 else 1.0)


def read_pixel_size(file: h5py.File) -> float | None:
    """Return the pixel size along fs, in m."""
    found = first_values(file, ("{detector}/x_pixel_size",))
    return (
        None if found is None else float(found.values[0] * LENGTHS_M.get(found.unit.lower(), 1.0))
    )


def read_beam_center(file: h5py.File, pixel_size_m: float | None) -> tuple[float, float] | None:
    """Return where the beam meets the frame, (fs, ss) in pixels, corner convention.

    A length is divided by the pixel size. (0, 0), which detectors write when it was never set, is
    no beam centre.
    """
    center = []
    for axis in "xy":
        found = first_values(file, (f"{{detector}}/beam_center_{axis}",), least=-np.inf)
        if found is None:
            return None
        value, unit = float(found.values[0]), found.unit.lower()
        if unit in LENGTHS_M:
            if not pixel_size_m:
                return None
            value *= LENGTHS_M[unit] / pixel_size_m
        center.append(value)
    return (center[0], center[1]) if any(center) else None


def read_saturation(file: h5py.File, dtype: np.dtype) -> float | None:
    """Return the counts at and above which a pixel is saturated.

    The least of what the file states and the detector's largest number, 2^bits − 1, ``bits`` being
    the file's own bit depth where it gives one. NXmx calls a pixel at the stated value still
    valid, but counts are clipped there.
    """
    limits = [
        first_number(file, "{detector}/saturation_value"),
        first_number(file, "{detector}/detectorSpecific/countrate_correction_count_cutoff"),
    ]
    bits = first_number(file, "{detector}/bit_depth_image")
    if dtype.kind in "iu":
        # A depth beyond the stored type, as after a conversion to fewer bits, says nothing.
        largest = float(np.iinfo(dtype).max)
        limits.append(min(2.0**bits - 1, largest) if bits else largest)
    known = [limit for limit in limits if limit is not None and limit > 0]
    return min(known) if known else None


def read_text(file: h5py.File, path: str) -> str:
    """Return a text field; empty if there is none."""
    for where in places((path,)):
        dataset = dataset_at(file, where)
        if dataset is not None and dataset.size == 1 and dataset.dtype.kind in "OS":
            value = np.asarray(dataset[()]).ravel()[0]
            return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return ""


def frames_announced(file: h5py.File) -> int | None:
    """Return the number of frames a detector was told to take; None if the file does not say."""
    images = first_number(file, "{detector}/detectorSpecific/nimages")
    triggers = first_number(file, "{detector}/detectorSpecific/ntrigger")
    return None if images is None else int(images * (triggers or 1))


def shape_announced(file: h5py.File) -> tuple[int, int] | None:
    """Return the shape of a frame as a detector states it; None if the file does not say."""
    rows = first_number(file, "{detector}/detectorSpecific/y_pixels_in_detector")
    columns = first_number(file, "{detector}/detectorSpecific/x_pixels_in_detector")
    return (int(rows), int(columns)) if rows and columns else None
