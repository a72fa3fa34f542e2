"""A hit as one MessagePack message, and the geometry file by which CrystFEL reads such messages.

CrystFEL takes from a message the keys that its geometry file names (its ``doc/articles/online.rst``
and ``libcrystfel/src/image-msgpack.c``): an image as a map of ``type``, ``shape`` and ``data``, and
a peak list as a map of the arrays ``fs``, ``ss`` and ``intensity``. It takes the first key that is
the beginning of the one it looks for, so no key here begins another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from hitfinder.export.hits import SCORES, Hit, to_pixel_index
from hitfinder.geometry.crystfel import Directives, geom_lines
from hitfinder.geometry.geometry import Geometry

IMAGE, PEAKS, ENERGY, LENGTH = "image", "peaks", "photon_energy_ev", "camera_length_m"
"""Keys that CrystFEL is told of."""

MASKED = -1
"""What stands for the counts of a masked pixel."""

_LARGEST = np.iinfo(np.int32).max
_PEAK_ARRAYS = {"intensity": "photons", "snr": "snr", "probability": "probability"}


def pack_hit(hit: Hit, counts: NDArray, geometry: Geometry, **about: str | int | None) -> bytes:
    """Put a hit into a message.

    Parameters
    ----------
    hit : Hit
        Its number, its peaks and its results.
    counts : ndarray, shape (n_ss, n_fs)
        The frame.
    geometry : Geometry
        Mask, photon energy and camera length.
    **about
        What else to say, by keys of which none is the beginning of another.

    Returns
    -------
    bytes
        The message.
    """
    energy = hit.photon_energy_ev or geometry.photon_energy_ev
    length = hit.camera_length_m or geometry.camera_length_m
    return msgpack.packb(
        {
            "frame": hit.frame,
            **about,
            ENERGY: float(energy),
            LENGTH: float(length),
            **{name: _known(float(hit.row[name])) for name in SCORES},
            PEAKS: _peaks(hit.peaks),
            IMAGE: _image(counts, geometry.detector.full_mask),
        }
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _peaks(peaks: NDArray[np.void]) -> dict[str, list[float]]:
    """Return the peaks by column; CrystFEL reads numbers with a point only."""
    told = {name: to_pixel_index(peaks[name]).astype(float).tolist() for name in ("fs", "ss")}
    told |= {name: peaks[field].astype(float).tolist() for name, field in _PEAK_ARRAYS.items()}
    return told


def _image(counts: NDArray, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return an image of one of the two types that CrystFEL reads."""
    if counts.dtype.kind == "f":
        sent = np.where(mask, np.float32(np.nan), counts.astype("<f4"))
    else:
        # A reading above that is none.
        most = counts.dtype.type(min(_LARGEST, np.iinfo(counts.dtype).max))
        sent = np.minimum(counts, most).astype("<i4")
        sent[mask] = MASKED
    return {"type": sent.dtype.str, "shape": list(sent.shape), "data": sent.tobytes()}


def message_geom_lines(
    geometry: Geometry, directives: Directives | None = None, comments: Iterable[str] = ()
) -> list[str]:
    """Describe the geometry of messages as CrystFEL's geometry file does, for `write_geom`.

    Photon energy and camera length are those of each message, and so is the mask.

    Parameters
    ----------
    geometry : Geometry
        What to describe.
    directives : Directives, optional
        What to write besides.
    comments : iterable of str
        Lines to begin the file with.
    """
    unmasked = dataclasses.replace(geometry.detector, mask=None)
    lines = geom_lines(
        dataclasses.replace(geometry, detector=unmasked),
        data_path=IMAGE,
        dims=("ss", "fs"),
        photon_energy=f"{ENERGY} eV",
        clen=f"{LENGTH} m",
        directives=directives,
        comments=comments,
    )
    at = lines.index(f"data = {IMAGE}") + 1
    return [*lines[:at], f"peak_list = {PEAKS}", f"flag_equal = {MASKED}", *lines[at:]]
