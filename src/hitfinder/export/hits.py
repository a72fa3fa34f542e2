"""What a CXI file tells of each hit: peaks, scores, origin, photon energy and distance."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource

RESULT = "/entry_1/result_1"
DISTANCE = "/entry_1/instrument_1/detector_1/distance"
DISTANCE_MM = "/LCLS/camera_length_mm"
"""The same in mm: what programs take a camera length for that they find at a path without unit."""

ENERGY_EV = "/LCLS/photon_energy_eV"
ENERGY_J = "/entry_1/instrument_1/source_1/energy"
ORIGIN = "/entry_1/experiment_identifier"

JOULE_PER_EV = 1.602176634e-19

PEAK_DATASETS = {
    "peakTotalIntensity": "photons",
    "peakSNR": "snr",
    "peakNPixels": "n_pixels",
    "peakMaximumValue": "maximum",
    "peakBackground": "background",
    "peakLogP": "log_p",
    "peakProbability": "probability",
}
"""Datasets of the peak list besides the positions, and the fields of a peak they are taken from."""

SCORES = ("score", "hit_probability", "photons", "background_per_pixel", "resolution_a")
"""Fields of a frame's row that are kept with the hit."""

PEAK_POSITIONS = {"peakXPosRaw": "fs", "peakYPosRaw": "ss"}

HIT_COLUMNS = {
    f"{RESULT}/nPeaks": ("int32", "1", "peaks of the hit that are listed"),
    f"{RESULT}/peakXPosRaw": ("float32", "pixel", "fs of each peak; first pixel's centre is 0"),
    f"{RESULT}/peakYPosRaw": ("float32", "pixel", "ss of each peak; first pixel's centre is 0"),
    f"{RESULT}/peakTotalIntensity": ("float32", "photon", "photons above the background"),
    f"{RESULT}/peakSNR": ("float32", "1", "signal-to-noise ratio"),
    f"{RESULT}/peakNPixels": ("float32", "1", "pixels of the peak"),
    f"{RESULT}/peakMaximumValue": ("float32", "photon", "brightest pixel of the peak"),
    f"{RESULT}/peakBackground": ("float32", "photon", "expected background under the peak"),
    f"{RESULT}/peakLogP": ("float32", "1", "natural logarithm of the chance probability"),
    f"{RESULT}/peakProbability": ("float32", "1", "probability of a Bragg peak"),
    f"{RESULT}/score": ("float64", "1", "score of the frame: the higher, the likelier a hit"),
    f"{RESULT}/hit_probability": ("float64", "1", "as in frames.parquet"),
    f"{RESULT}/photons": ("float64", "photon", "sum over the pixels that are not masked"),
    f"{RESULT}/background_per_pixel": ("float64", "photon/pixel", "mean expected background"),
    f"{RESULT}/resolution_a": ("float64", "angstrom", "resolution to which peaks reach"),
    f"{RESULT}/frame": ("int64", "1", "row of the frame table, from 0"),
    f"{RESULT}/file": ("string", "", "file that the hit came from"),
    f"{RESULT}/event": ("string", "", "//index within that file"),
    ORIGIN: ("string", "", "file and event in one"),
    ENERGY_EV: ("float64", "eV", "photon energy of the hit"),
    ENERGY_J: ("float64", "J", "the same in joules"),
    DISTANCE: ("float64", "m", "camera length of the hit: clen, without the coffset of a panel"),
    DISTANCE_MM: ("float64", "mm", "the same in mm"),
}
"""Datasets of ``hits.cxi`` with a row per hit: type, unit, meaning. Those of peaks have a column
for each peak of the hit that has most; rows of others are filled up with 0."""


@dataclasses.dataclass(frozen=True, eq=False)
class Hit:
    """A frame to be handed on, with what was found in it.

    Parameters
    ----------
    frame : int
        Index of the frame in its source.
    peaks : structured ndarray, shape (n_peaks,)
        Peaks with fields ``fs``, ``ss`` (pixels, corner convention), ``photons``, ``background``,
        ``log_p``, ``n_pixels``, ``snr``, ``maximum``, ``probability``.
    row : structured scalar
        The frame's results, with the fields `SCORES`.
    photon_energy_ev, camera_length_m : float, optional
        Of this frame, in eV and m; the geometry's if not given.
    """

    frame: int
    peaks: NDArray[np.void]
    row: Any
    photon_energy_ev: float | None = None
    camera_length_m: float | None = None


def to_pixel_index(position: NDArray[np.floating]) -> NDArray[np.float32]:
    """Turn positions counted from the first pixel's corner into pixel indices, as CXI has them.

    The first pixel's centre is 0.5 here and 0 there; CrystFEL adds the half again when it reads.
    """
    return (np.asarray(position, np.float64) - 0.5).astype(np.float32)


class Common:
    """One number per frame, of which it is known whether all are the same."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def note(self, values: NDArray[np.float64]) -> None:
        """Take values into account."""
        self.low, self.high = min(self.low, values.min()), max(self.high, values.max())

    def value(self, default: float) -> float | None:
        """Return the value of all, None if they differ; `default` if there are none."""
        if self.low > self.high:
            return default
        return float(self.low) if self.low == self.high else None


class Results:
    """What is known of each hit: peaks, scores, origin, energy and distance."""

    def __init__(self, h5file: h5py.File, geometry: Geometry) -> None:
        self.h5file, self.geometry = h5file, geometry
        self.energies, self.lengths = Common(), Common()
        self.group = h5file.create_group(RESULT)
        wide = {f"{RESULT}/{name}" for name in (*PEAK_POSITIONS, *PEAK_DATASETS)}
        for path, (kind, _, _) in HIT_COLUMNS.items():
            dtype = h5py.string_dtype() if kind == "string" else np.dtype(kind)
            # One column at least: a peak list of no columns cannot be read.
            self._grow(path, dtype, columns=1 if path in wide else None)

    def _grow(self, path: str, dtype: Any, columns: int | None = None) -> None:
        wide = columns is not None
        self.h5file.create_dataset(
            path,
            (0, columns) if wide else (0,),
            dtype,
            maxshape=(None, None) if wide else (None,),
            chunks=(256, 64) if wide else (1024,),
            # Padding takes no room then.
            **({"compression": "gzip", "compression_opts": 1, "shuffle": True} if wide else {}),
        )

    def _extend(self, path: str, values: Any) -> None:
        dataset = self.h5file[path]
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values

    def add(self, hits: Sequence[Hit], source: FrameSource) -> None:
        """Append a batch of hits."""
        self._add_peaks([hit.peaks for hit in hits])
        for name in SCORES:
            self._extend(f"{RESULT}/{name}", [float(hit.row[name]) for hit in hits])
        refs = [source.ref(hit.frame) for hit in hits]
        self._extend(f"{RESULT}/frame", [hit.frame for hit in hits])
        # File names are bytes to the system and need not be text.
        files = [os.fsencode(ref.file) for ref in refs]
        events = [os.fsencode(ref.event) for ref in refs]
        names = [b" ".join(pair).rstrip() for pair in zip(files, events, strict=True)]
        self._extend(f"{RESULT}/file", files)
        self._extend(f"{RESULT}/event", events)
        self._extend(ORIGIN, names)
        energies = _filled([h.photon_energy_ev for h in hits], self.geometry.photon_energy_ev)
        lengths = _filled([h.camera_length_m for h in hits], self.geometry.camera_length_m)
        self.energies.note(energies)
        self.lengths.note(lengths)
        self._extend(ENERGY_EV, energies)
        self._extend(ENERGY_J, energies * JOULE_PER_EV)
        self._extend(DISTANCE, lengths)
        self._extend(DISTANCE_MM, 1e3 * lengths)

    def _add_peaks(self, peaks: Sequence[NDArray[np.void]]) -> None:
        counts = np.array([len(found) for found in peaks])
        start = len(self.group["nPeaks"])
        self._extend(f"{RESULT}/nPeaks", counts)
        width = max(self.group["peakXPosRaw"].shape[1], counts.max())
        row = np.repeat(np.arange(len(peaks)), counts)
        column = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        joined = np.concatenate(peaks)
        columns = {name: to_pixel_index(joined[field]) for name, field in PEAK_POSITIONS.items()}
        columns |= {name: joined[field] for name, field in PEAK_DATASETS.items()}
        for name, values in columns.items():
            dataset = self.group[name]
            padded = np.zeros((len(peaks), width), np.float32)
            padded[row, column] = values
            dataset.resize((start + len(peaks), width))
            dataset[start:] = padded


def _filled(values: Sequence[float | None], default: float) -> NDArray[np.float64]:
    return np.array([default if value is None else value for value in values], np.float64)
