"""What is in a source, and what is wrong with it: everything `hitfinder info` tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import HitfinderError, SourceError
from hitfinder.geometry.named import detectors, named_detector
from hitfinder.io.composite import CompositeSource
from hitfinder.io.framemasks import FrameMasks, first_files
from hitfinder.io.source import FrameSource, Metadata
from hitfinder.io.stack import Hdf5Source
from hitfinder.units import wavelength_from_energy

MASK_BITS = {
    0: "gap",
    1: "dead",
    2: "under-responding",
    3: "over-responding",
    4: "noisy",
    8: "masked by the user",
    31: "virtual pixel",
}
"""Meaning of the bits of ``pixel_mask`` (NXmx)."""

MASK_BITS_CXI = {
    0: "invalid",
    1: "saturated",
    2: "hot",
    3: "dead",
    4: "shadowed",
    5: "not to be searched",
    6: "to be ignored",
    7: "bad",
    8: "outside the resolution limits",
    9: "missing",
    10: "noisy",
    11: "corrected, not ignored",
    12: "correction failed",
    13: "of a peak, not ignored",
    14: "background corrected, not ignored",
}
"""Meaning of the bits of CXI masks; see `hitfinder.io.masks.GOOD_BITS_CXI`."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What one frame looks like; only pixels that count are looked at.

    Parameters
    ----------
    frame : int
        Its number.
    event : str
        Its place in the file.
    mean, max : float
        Of the counts.
    zero_fraction : float
        Share of pixels with no count.
    photons : float
        Sum of the counts.
    n_pixels : int
        Pixels that count: not masked, with a value, not saturated.
    n_saturated : int
        Pixels that are not masked and saturated.
    """

    frame: int
    event: str
    mean: float
    max: float
    zero_fraction: float
    photons: float
    n_pixels: int
    n_saturated: int


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
    """What is known of frames from their files and from elsewhere.

    Parameters
    ----------
    said : Metadata
        All of it.
    origin : mapping of str to str
        Where a field of it is from, if not from the frames' own files.
    adu_per_photon : float, optional
        Stored value of one photon.
    notes : sequence of str
        What is odd about what is said elsewhere.
    noise : str
        What the frames tell of the noise of a detector that does not count, in words.
    """

    said: Metadata
    origin: Mapping[str, str] = dataclasses.field(default_factory=dict)
    adu_per_photon: float | None = None
    notes: Sequence[str] = ()
    noise: str = ""


def look(source: FrameSource, index: int, said: Metadata, frame: NDArray) -> Look:
    """Read a frame into a buffer and measure it.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    source.read(index, frame)
    good = np.ones(frame.shape, bool) if said.mask is None else ~said.mask
    if frame.dtype.kind == "f":
        good &= np.isfinite(frame)
    if said.underload is not None:
        good &= frame >= said.underload
    n_saturated = 0
    if said.saturation is not None:
        above = frame >= said.saturation
        n_saturated = int(np.count_nonzero(above & good))
        good &= ~above
    counts = frame[good]
    if not counts.size:
        nan = float("nan")
        return Look(index, source.ref(index).event, nan, nan, nan, 0.0, 0, n_saturated)
    return Look(
        index,
        source.ref(index).event,
        float(counts.mean(dtype=np.float64)),
        float(counts.max()),
        float(np.count_nonzero(counts == 0) / counts.size),
        float(counts.sum(dtype=np.float64)),
        int(counts.size),
        n_saturated,
    )


def looks(
    source: FrameSource, said: Metadata, n_frames: int
) -> tuple[list[Look], list[SourceError]]:
    """Look at frames spread over a source.

    Parameters
    ----------
    source : FrameSource
        Where to look.
    said : Metadata
        Which pixels count.
    n_frames : int
        At how many.

    Returns
    -------
    list of Look
        Of the frames that can be read.
    list of SourceError
        Of those that cannot.
    """
    found, errors = [], []
    frame = np.empty(source.shape, source.dtype)
    said = said if source.n_readable else Metadata()
    for index in np.unique(np.linspace(0, len(source) - 1, n_frames).round().astype(int)):
        try:
            found.append(look(source, int(index), said, frame))
        except SourceError as error:
            errors.append(error)
    return found, errors


def summarise(
    source: FrameSource,
    name: str,
    n_looks: int = 3,
    told: Told | None = None,
    failures: Sequence[HitfinderError] = (),
) -> dict[str, Any]:
    """Describe a source.

    Parameters
    ----------
    source : FrameSource
        What to describe.
    name : str
        What the user called it.
    n_looks : int
        Number of frames to read.
    told : Told, optional
        What is known of the frames; what their files say if not given.
    failures : sequence of HitfinderError
        Further problems.

    Returns
    -------
    dict
        Of plain values that JSON can hold. ``problems`` keep frames from being read; ``notes``
        do not.
    """
    told = told or Told(source.metadata)
    said, contents = told.said, source.contents
    seen, failed = looks(source, said, n_looks)
    problems = {str(error): error.status for error in (*source.problems, *failed)}
    problems |= {str(error): "geometry" for error in failures}
    energy = said.photon_energy_ev
    return {
        "input": name,
        "format": contents.format,
        "reader": source.reader,
        "frames": len(source),
        "readable": source.n_readable,
        "shape": list(source.shape),
        "dtype": str(source.dtype),
        "dataset": contents.dataset,
        "compression": contents.compression,
        "detectors_of_this_shape": _detectors(source.shape),
        "metadata": {
            "detector": said.detector,
            "photon_energy_ev": energy,
            "wavelength_a": wavelength_from_energy(energy) if energy else None,
            "camera_length_m": said.camera_length_m,
            "beam_center": said.beam_center,
            "pixel_size_m": said.pixel_size_m,
            "panels_placed": len(said.panels),
            "saturation": said.saturation,
            "underload": said.underload,
            "adu_per_photon": told.adu_per_photon,
        },
        "origin": dict(told.origin),
        "noise": told.noise,
        "mask": _mask(source, told),
        "linked_files": [dataclasses.asdict(file) for file in contents.linked_files],
        "files": _files(source),
        "looks": [dataclasses.asdict(seen_frame) for seen_frame in seen],
        "problems": [{"status": status, "text": text} for text, status in problems.items()],
        "notes": [
            *source.remarks,
            *_notes(source, said, seen),
            *told.notes,
            *_differences(source, told, seen),
        ]
        if source.n_readable
        else [],
    }


def _detectors(shape: tuple[int, int]) -> list[str]:
    return [name for name in detectors() if named_detector(name).shape == shape]


def _mask(source: FrameSource, told: Told) -> dict[str, Any] | None:
    """Count masked pixels, by bit where the file tells the bits."""
    said = told.said
    if said.mask is None:
        return None
    elsewhere = "mask" in told.origin
    stored = source if isinstance(source, Hdf5Source) and not elsewhere else None
    bits = stored.mask_bits() if stored else None
    counts = {}
    if stored is not None and bits is not None:
        meanings = MASK_BITS_CXI if stored.mask_good_bits else MASK_BITS
        for bit in range(8 * bits.dtype.itemsize):
            n_set = int(np.count_nonzero(bits >> bits.dtype.type(bit) & bits.dtype.type(1)))
            if n_set:
                counts[str(bit)] = {"meaning": meanings.get(bit, ""), "pixels": n_set}
    return {"pixels": int(np.count_nonzero(said.mask)), "bits": counts}


def _files(source: FrameSource) -> list[dict[str, Any]]:
    """List the inputs that make up a source of several."""
    if not isinstance(source, CompositeSource):
        return []
    return [
        {
            "path": part.ref(0).file,
            "reader": part.reader,
            "frames": int(taken),
            "readable": int(readable) if part.shape == source.shape else 0,
            "shape": list(part.shape),
        }
        for part, taken, readable in zip(
            source.sources, source.taken, source.readable_of, strict=True
        )
        if taken
    ]


def _notes(source: FrameSource, said: Metadata, seen: list[Look]) -> list[str]:
    """Say what is unusual, though the frames can be read."""
    notes = []
    for value, what, then in (
        (said.photon_energy_ev, "photon energy", "give --photon-energy-ev"),
        (said.camera_length_m, "camera length", "give --camera-length-m"),
        (said.beam_center, "beam centre", "give --beam-center, else the middle is taken"),
    ):
        if value is None:
            notes.append(f"the {what} is not in the file: to hitfinder run, {then}")
    if said.beam_center is not None:
        fs, ss = said.beam_center
        if not (0 <= fs <= source.shape[1] and 0 <= ss <= source.shape[0]):
            notes.append(f"the beam centre ({fs:g}, {ss:g}) lies outside the frame")
    notes += said.notes
    lost = any(isinstance(m, Hdf5Source) and m.has_lost_mask for m in source.members)
    told = any("mask" in remark for remark in source.remarks)
    if said.mask is None and not told and not lost:
        notes.append("there is no pixel mask in the file")
    elif said.mask is not None and said.mask.all():
        notes.append("every pixel is masked")
    always = min((frame.n_saturated for frame in seen), default=0)
    if always > source.shape[0] * source.shape[1] // 1000:
        notes.append(
            f"{always} pixels or more are saturated in every frame looked at: gaps or dead pixels "
            "that the mask leaves out?"
        )
    if seen and all(frame.n_pixels and not frame.photons for frame in seen):
        notes.append("there is no count in any frame looked at")
    return notes


def _differences(source: FrameSource, told: Told, seen: list[Look]) -> list[str]:
    """Say which values of the beam and detector are not the same for every frame looked at."""
    if told.origin:
        return []  # what the files say does not count
    said = [source.frame_metadata(frame.frame) for frame in seen]
    notes = []
    masks = FrameMasks(source)
    if masks.vary:
        notes.append(f"the masks differ between frames: {masks.summary}")
    centers = source.beam_centers
    if len(set(centers.values())) > 1:
        shown = [f"fs {fs:.2f}, ss {ss:.2f} in {file}" for file, (fs, ss) in centers.items()]
        notes.append("the beam centre differs between files: " + "; ".join(first_files(shown)))
    for what, unit, values in (
        ("photon energy", "eV", [m.photon_energy_ev for m in said]),
        ("camera length", "m", [m.camera_length_m for m in said]),
    ):
        known = sorted({value for value in values if value is not None})
        if len(known) > 1:
            notes.append(f"the {what} differs between frames: {known[0]:g} to {known[-1]:g} {unit}")
    return notes
