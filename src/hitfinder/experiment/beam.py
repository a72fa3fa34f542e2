"""Photon energy and camera length of each frame, as the frames' own files have them."""

from __future__ import annotations

import dataclasses
import logging
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError, SourceError
from hitfinder.geometry.crystfel import GeomFile
from hitfinder.geometry.crystfel.stored import of_frame, values_of
from hitfinder.geometry.crystfel.text import Quantity
from hitfinder.geometry.layout import filled
from hitfinder.io.handles import POOL
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

GIVEN, FROM_FILE, IN_PYTHON = "settings", "the frames' file", "given in Python"

BeamField = Literal["photon_energy_ev", "camera_length_m"]

WORDS: dict[BeamField, str] = {
    "photon_energy_ev": "photon energy",
    "camera_length_m": "camera length",
}

Values = NDArray[np.float64]
"""One number for each frame of a source, NaN where there is none."""

_NOTABLE = 0.01
"""Relative difference between frames from which peaks found with one value may suffer."""


@dataclasses.dataclass(frozen=True, eq=False)
class BeamValue:
    """Photon energy (eV) or camera length (m) of a job.

    Attributes
    ----------
    used : float or None
        The one that peaks are found with; None if it is not known.
    origin : str
        Where it was taken from.
    of_frames : ndarray or None
        That of each frame, where it is taken from the frames' files.
    """

    used: float | None
    origin: str
    of_frames: Values | None = None


def beam_value(
    name: BeamField, given: float | None, geom: GeomFile | None, source: FrameSource
) -> BeamValue:
    """Take a value from the settings, the geometry file, the place it names, or a usual place.

    Parameters
    ----------
    name : str
        What is wanted.
    given : float, optional
        What the settings say.
    geom : GeomFile, optional
        The geometry file.
    source : FrameSource
        The frames.

    Raises
    ------
    GeometryError
        If the geometry file names a place that is in none of the files.
    """
    if given is not None:
        return BeamValue(given, GIVEN)
    if geom is not None:
        is_length = name == "camera_length_m"
        said = geom.clen if is_length else geom.photon_energy
        offset = geom.panels[0].coffset_m if is_length else 0.0
        if said is not None and said.value is not None:
            return BeamValue(said.value + offset, geom.path)
        if said is not None and said.location is not None:
            values = named_values(said, source, WORDS[name]) + offset
            used = typical(values, source)
            if used is not None:
                origin = f"{said.location} in {FROM_FILE}, as {geom.path} says"
                return BeamValue(used, origin, values)
    return BeamValue(getattr(source.metadata, name), FROM_FILE, source.said_of_frames(name))


def named_values(quantity: Quantity, source: FrameSource, what: str) -> Values:
    """Return the numbers at the place that a geometry file names.

    Parameters
    ----------
    quantity : Quantity
        The place, and the unit of the numbers there.
    source : FrameSource
        The frames. Files that are not HDF5 have no numbers.
    what : str
        Name of the quantity, for people.

    Returns
    -------
    ndarray of float64, shape (n_frames,)
        In m or eV. Files that have no such dataset are named in a warning, as long as another
        one has it.

    Raises
    ------
    GeometryError
        If no frame has a number, and at least one is in an HDF5 file.
    """
    assert quantity.location is not None
    read: dict[tuple[str, str], Values | None] = {}
    errors: dict[str, GeometryError] = {}
    found = np.full(len(source), np.nan)
    for index in range(len(source)):
        ref = source.ref(index)
        key = ref.file, ref.group
        try:
            if key not in read:
                read[key] = None
                read[key] = _read(quantity, *key)
            values = read[key]
            if values is not None:
                found[index] = of_frame(values, ref.index, f"{ref.file}:{quantity.location}")
        except GeometryError as error:
            errors.setdefault(ref.file, error)
    if np.isnan(found).all() and errors:
        raise next(iter(errors.values()))
    if errors:
        others = f" (and {len(errors) - 1} files more)" if len(errors) > 1 else ""
        first = next(iter(errors.values()))
        log.warning("%s%s; frames without a %s of their own get the run's", first, others, what)
    return found


def _read(quantity: Quantity, file: str, group: str) -> Values | None:
    """Read the numbers of a file; NaN for those that are impossible, None if it is not HDF5."""
    assert quantity.location is not None
    try:
        if not h5py.is_hdf5(file):
            return None
        with POOL.visit():
            stored = values_of(POOL.file(file), filled(quantity.location, group))
    except (SourceError, OSError):
        # Why the frames cannot be read is told for each of them.
        return None
    return np.array([_converted(quantity, number) for number in stored])


def _converted(quantity: Quantity, stored: float) -> float:
    try:
        return quantity.convert(stored)
    except ValueError:
        return np.nan


def typical(values: Values, source: FrameSource) -> float | None:
    """Return the median over the first file that has values; None if none has."""
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return None
    first = source.ref(int(known[0])).file
    return float(np.median([values[i] for i in known if source.ref(int(i)).file == first]))


def warn_if_they_differ(values: Values | None, used: float, what: str, unit: str) -> None:
    """Warn if the values of frames are so far from the one that is used that it matters."""
    if values is None or not np.isfinite(values).any():
        return
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if max(high - used, used - low) > _NOTABLE * abs(used):
        log.warning(
            "the %s differs between frames, %.6g to %.6g %s: peaks of all are found with "
            "%.6g %s, each hit is handed on with its own; run frames that differ much separately",
            *(what, low, high, unit, used, unit),
        )


def warn_of_another_energy(used: float, origin: str, source: FrameSource) -> None:
    """Warn if a geometry file has another photon energy (eV) than the frames' own file."""
    own = source.metadata.photon_energy_ev
    if own is not None and abs(used - own) > _NOTABLE * own:
        log.warning(
            "the photon energy is %.6g eV (%s), which is used, but %s says %.6g eV",
            *(used, origin, source.ref(0).file, own),
        )


def fixed_shift(
    shift: Quantity | None, name: str, geom: GeomFile, source: FrameSource
) -> Quantity | None:
    """Read a shift of the detector that is kept in the data files.

    Raises
    ------
    GeometryError
        If it is not the same for all frames, to a pixel: the frames have one geometry.
    """
    if shift is None or shift.value is not None or shift.location is None:
        return shift
    values = named_values(shift, source, name)
    used = typical(values, source)
    if used is None:
        return shift
    pixels = (values - used) * geom.panels[0].res
    worst = int(np.nanargmax(np.abs(pixels)))
    if abs(pixels[worst]) > 1:
        first, other = source.ref(int(np.flatnonzero(np.isfinite(values))[0])), source.ref(worst)
        raise GeometryError(
            f"{name} differs by {abs(pixels[worst]):.3g} pixels between {first.file} "
            f"{first.event} and {other.file} {other.event}",
            geom.path,
            "Run frames with the same shift together, others separately.",
        )
    return dataclasses.replace(shift, value=used)


def check_beam_centers(source: FrameSource) -> None:
    """Raise GeometryError if files differ in their beam centre by more than a pixel."""
    centers = source.beam_centers
    if not centers:
        return
    first, (fs0, ss0) = next(iter(centers.items()))
    for file, (fs, ss) in centers.items():
        if max(abs(fs - fs0), abs(ss - ss0)) > 1:
            raise GeometryError(
                f"the beam centre is fs {fs0:.2f}, ss {ss0:.2f} in {first}, but fs {fs:.2f}, "
                f"ss {ss:.2f} in {file}",
                hint="Run them one by one, or give the one that holds for all with --beam-center.",
            )
