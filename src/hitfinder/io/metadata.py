"""What HDF5 files say about beam and detector, at the places where the formats keep it.

The beam centre of NXmx and Eiger files counts pixels from the outer corner of the first pixel, as
the accompanying translation of the detector shows (centre times pixel size) and as DIALS reads it:
the convention used here, so it is taken over unchanged.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.layout import MOST_PIXELS
from hitfinder.geometry.placed import DetectorPlacement
from hitfinder.io import quantities
from hitfinder.io.nexus import Fields, as_text
from hitfinder.io.numbers import Values, attribute_values, first_number, first_values, middle
from hitfinder.io.placement import read_placement
from hitfinder.io.quantities import Kind, converted, normal
from hitfinder.io.source import Metadata
from hitfinder.io.tables import MOST_FRAMES
from hitfinder.units import HC_EV_ANGSTROM

ENERGIES = (
    "{beam}/incident_energy",
    "{beam}/photon_energy",
    "{detector}/detectorSpecific/photon_energy",
    "entry_1/instrument_1/source_1/energy",
    "{beam}/energy",
    "LCLS/photon_energy_eV",
    "photon_energy_ev",
    "photon_energy_eV",
    "photon_energy",
    "entry/photon_energy",
    "entry/data/photon_energy",
)
WAVELENGTHS = ("{beam}/incident_wavelength", "{beam}/wavelength", "LCLS/photon_wavelength_A")
MONOCHROMATOR = ("{monochromator}/energy", "{monochromator}/wavelength")
"""Where the energy is that the beam was set to, if nothing is said of the beam itself."""

DISTANCES = (
    "{detector}/detector_distance",
    "{detector}/distance",
    "camera_length_m",
    "clen",
    "entry/clen",
    "entry/data/clen",
)

_FLATFIELD = "{detector}/flatfield"

_SQUARE = 1e-4
"""Relative difference of its edges up to which a pixel is square."""

_CENTER_PX, _LENGTH = 2.0, 0.01
"""Differences of beam centres, and relative ones of camera lengths, that are worth a word."""

MOST_TEXT = 1 << 16
"""Bytes of a text of fixed length that is read."""


def read_metadata(
    fields: Fields, dtype: np.dtype, n_frames: int, shape: tuple[int, int]
) -> Metadata:
    """Read what a file says about its frames, but for the mask; see `hitfinder.io.masks`.

    Parameters
    ----------
    fields : Fields
        The fields of a master, CXI or other HDF5 file.
    dtype : numpy.dtype
        Type of the counts.
    n_frames : int
        Number of frames, which arrays of values should have as many of.
    shape : tuple of int
        Rows and columns of a frame.
    """
    energies, energy_notes = _energies(fields)
    lengths, length_notes = _lengths(fields)
    edges, pixel_notes = read_pixel_edges(fields)
    center, center_notes = read_beam_center(fields, edges)
    notes = [*energy_notes, *length_notes, *pixel_notes, *center_notes, *_left_to_do(fields)]
    said = Metadata(
        photon_energy_ev=None if energies is None else middle(energies.values),
        camera_length_m=None if lengths is None else middle(lengths.values),
        beam_center=center,
        pixel_size_m=edges[0],
        pixel_height_m=edges[1] if edges[1] != edges[0] else None,
        saturation=read_saturation(fields, dtype),
        underload=first_number(fields, "{detector}/underload_value"),
        detector=read_text(fields, "{detector}/description"),
        notes=(*notes, *_oddities(energies, lengths, n_frames)),
    )
    placement, odd = read_placement(fields, shape)
    if placement is not None and placement.is_flat and lengths is not None:
        odd = []  # the other fields say where it is, for each frame if need be
    said = dataclasses.replace(said, notes=(*said.notes, *odd))
    return said if placement is None else _placed(said, placement)


def _placed(said: Metadata, placement: DetectorPlacement) -> Metadata:
    """Add what the transformations of a file tell of its detector's place.

    Of a flat detector across the beam, the fields for camera length and beam centre are used where
    they are given: they are what is set at a beamline. They cannot tell of any other detector.
    """
    center, length = placement.beam_center, placement.camera_length_m
    own_center, own_length = said.beam_center or center, said.camera_length_m or length
    apart = math.dist(center, own_center)
    # The distance of a detector that is turned may be that along its normal.
    lengths = length, length * math.cos(math.radians(placement.tilt_deg))
    longer = min(abs(own_length - known) for known in lengths)
    told: tuple[str, ...] = ()
    if placement.is_flat and (apart > _CENTER_PX or longer > _LENGTH * length):
        told = (
            "by the transformations of the file the beam meets the detector at "
            f"{_place(center, length)}; its other fields say {_place(own_center, own_length)}, and "
            "are used",
        )
    elif longer > _LENGTH * length:
        told = (
            f"the camera length is {1e3 * own_length:.5g} mm, but the transformations of the file "
            f"place the detector {1e3 * length:.5g} mm from the sample, where it is taken to be",
        )
    return dataclasses.replace(
        said,
        camera_length_m=own_length,
        beam_center=own_center if placement.is_flat else center,
        pixel_size_m=said.pixel_size_m or placement.panels[0].pixel_size_m,
        panels=() if placement.is_flat else placement.at(own_length),
        notes=(*said.notes, *told),
    )


def _place(center: tuple[float, float], length: float) -> str:
    return f"fs {center[0]:.1f}, ss {center[1]:.1f}, {1e3 * length:.5g} mm from the sample"


def _left_to_do(fields: Fields) -> list[str]:
    """Say of a correction that the detector kept, but did not make."""
    given = any(fields.dataset(path) is not None for path in fields.places((_FLATFIELD,)))
    if not given or first_number(fields, f"{_FLATFIELD}_applied") != 0:
        return []
    return ["the file has a flat field that was not applied to the frames; it is not applied here"]


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


def read_beam(fields: Fields) -> dict[str, NDArray[np.float64]]:
    """Return photon energies (eV) and camera lengths (m), one value of each or one for each frame.

    What the file does not give is left out.
    """
    found = {"photon_energy_ev": _energies(fields)[0], "camera_length_m": _lengths(fields)[0]}
    return {name: one.values for name, one in found.items() if one is not None}


Read = tuple[Values | None, list[str]]
"""Numbers in the base unit of their kind, and what should be said of them."""


def _energies(fields: Fields) -> Read:
    """Find the photon energy, and turn it to eV."""
    notes: list[str] = []
    for patterns, kind in (
        (ENERGIES, quantities.PHOTON_ENERGY),
        (WAVELENGTHS, quantities.WAVELENGTH),
        (MONOCHROMATOR[:1], quantities.PHOTON_ENERGY),
        (MONOCHROMATOR[1:], quantities.WAVELENGTH),
    ):
        found, said = _in_base_unit(kind, _as_spectrum(fields, first_values(fields, patterns)))
        notes += said
        if found is not None:
            if kind is quantities.WAVELENGTH:
                found = found._replace(values=HC_EV_ANGSTROM / found.values)
            return found, notes
    attribute = attribute_values(fields, "photon_energy")
    found, said = _in_base_unit(quantities.PHOTON_ENERGY, attribute)
    return found, notes + said


def _as_spectrum(fields: Fields, found: Values | None) -> Values | None:
    """Return the means of a spectrum, if the numbers at a place are one and have weights."""
    if found is None or found.values.size < 2:
        return found
    for name in ("weights", "weight"):
        weights = first_values(fields, (f"{found.place.lstrip('/')}_{name}",), least=-1e-300)
        if weights is None or weights.values.size % found.values.size:
            continue
        rows = weights.values.reshape(-1, found.values.size)
        total = rows.sum(1)
        if (total > 0).all():
            return found._replace(values=rows @ found.values / total, n_bad=0)
    return found


def _lengths(fields: Fields) -> Read:
    """Find the camera length, and turn it to m; say if the detector has another one besides."""
    found = first_values(fields, DISTANCES) or attribute_values(fields, "clen")
    used, notes = _in_base_unit(quantities.CAMERA_LENGTH, found)
    other, _ = _in_base_unit(quantities.CAMERA_LENGTH, first_values(fields, DISTANCES[1:2]))
    if used is not None and other is not None:
        here, there = (middle(one.values) for one in (used, other))
        if abs(here - there) > _LENGTH * here:
            notes.append(
                f"the camera length is {1e3 * here:.5g} mm at {used.place}, which is used, but "
                f"{1e3 * there:.5g} mm at {other.place}"
            )
    return used, notes


def _in_base_unit(kind: Kind, found: Values | None) -> Read:
    if found is None:
        return None, []
    values, notes = converted(kind, found.values, found.unit, found.place)
    return None if values is None else found._replace(values=values), notes


Edges = tuple[float | None, float | None]
"""Edges of a pixel along fs and ss, in m."""


def read_pixel_edges(fields: Fields) -> tuple[Edges, list[str]]:
    """Return the pixel size along fs and ss, and what should be said of it."""
    read = [
        _in_base_unit(
            quantities.PIXEL_SIZE, first_values(fields, (f"{{detector}}/{axis}_pixel_size",))
        )
        for axis in "xy"
    ]
    x, y = (None if found is None else float(found.values[0]) for found, _ in read)
    notes = [note for _, said in read for note in said]
    if x is None or y is None or math.isclose(x, y, rel_tol=_SQUARE):
        return (x, x), notes
    return (x, y), notes


def read_beam_center(
    fields: Fields, edges_m: Edges
) -> tuple[tuple[float, float] | None, list[str]]:
    """Return where the beam meets the frame, (fs, ss) in pixels, corner convention.

    A length is divided by the pixel size. (0, 0), which detectors write when it was never set, is
    no beam centre. Of several values, as one for each frame, the median is taken.

    Returns
    -------
    tuple of float, or None
        The beam centre.
    list of str
        What should be said of it.
    """
    center: list[float] = []
    notes: list[str] = []
    for axis, edge in zip("xy", edges_m, strict=True):
        found = first_values(fields, (f"{{detector}}/beam_center_{axis}",), least=-np.inf)
        if found is None:
            return None, []
        values, unit = found.values, normal(found.unit)
        if unit in quantities.LENGTHS_M:
            if not edge:
                what = (
                    f"the beam centre at {found.place} is in {found.unit}, the pixel size unknown"
                )
                return None, [f"{what}: it is not used"]
            values = values * (quantities.LENGTHS_M[unit] / edge)
        elif unit and unit not in quantities.PIXELS:
            what = f"the beam centre at {found.place} is in {found.unit!r}, which is not known"
            return None, [f"{what}: it is not used"]
        if np.ptp(values) > 1:
            notes.append(
                f"the beam centre at {found.place} moves by {np.ptp(values):.3g} pixels; all "
                "frames get the median"
            )
        center.append(middle(values))
    return ((center[0], center[1]) if any(center) else None), notes


def read_saturation(fields: Fields, dtype: np.dtype) -> float | None:
    """Return the counts at and above which a pixel is saturated.

    The least of what the file states and the detector's largest number, 2^bits − 1, ``bits`` being
    the file's own bit depth where it gives one. NXmx calls a pixel at the stated value still
    valid, but counts are clipped there.
    """
    limits = [
        first_number(fields, "{detector}/saturation_value"),
        first_number(fields, "{detector}/detectorSpecific/countrate_correction_count_cutoff"),
    ]
    bits = first_number(fields, "{detector}/bit_depth_image")
    if dtype.kind in "iu":
        # A depth beyond the stored type, as after a conversion to fewer bits, says nothing.
        largest = float(np.iinfo(dtype).max)
        limits.append(min(2.0**bits - 1, largest) if bits and 0 < bits <= 64 else largest)
    known = [limit for limit in limits if limit is not None and limit > 0]
    return min(known) if known else None


def read_text(fields: Fields, path: str) -> str:
    """Return a text field; empty if there is none."""
    for where in fields.places((path,)):
        dataset = fields.dataset(where)
        if dataset is None or dataset.size != 1 or dataset.dtype.kind not in "OS":
            continue
        if dataset.dtype.itemsize > MOST_TEXT:
            continue
        try:
            return as_text(np.asarray(dataset[()]))
        except (OSError, RuntimeError, ValueError):
            continue
    return ""


def frames_announced(fields: Fields) -> int | None:
    """Return the number of frames a detector was told to take; None if the file does not say.

    A number that no detector takes counts as none.
    """
    images = first_number(fields, "{detector}/detectorSpecific/nimages")
    triggers = first_number(fields, "{detector}/detectorSpecific/ntrigger")
    if images is None or not 0 <= images * (triggers or 1) <= MOST_FRAMES:
        return None
    return int(images * (triggers or 1))


def shape_announced(fields: Fields) -> tuple[int, int] | None:
    """Return the shape of a frame as a detector states it; None if the file does not say."""
    rows = first_number(fields, "{detector}/detectorSpecific/y_pixels_in_detector")
    columns = first_number(fields, "{detector}/detectorSpecific/x_pixels_in_detector")
    if not (rows and columns) or not 0 < rows * columns <= MOST_PIXELS or rows < 0:
        return None
    return int(rows), int(columns)
