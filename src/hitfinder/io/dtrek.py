"""Headers of d*TREK, which Rigaku's detectors write, in the items of SMV files.

Both begin alike. d*TREK puts the detector's name before the items that speak of it, and lists the
axes that it stands on: names, units and values.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any


def smv_items(header: Mapping[str, Any]) -> dict[str, str]:
    """Return what a header of d*TREK says, as an SMV header would.

    Parameters
    ----------
    header : mapping
        The header of an image.

    Returns
    -------
    dict of str to str
        ``WAVELENGTH`` (Å), ``DISTANCE`` (mm), ``PIXEL_SIZE`` (mm), ``TWOTHETA`` (the largest
        rotation of the detector out of its plane, degrees), ``CCD_IMAGE_SATURATION``, as
        far as they are told; empty if it is no header of d*TREK.
    """
    names = str(header.get("DETECTOR_NAMES", "")).split()
    if not names:
        return {}

    def words(item: str) -> list[str]:
        return str(header.get(item, "")).split()

    axes = itertools.zip_longest(
        *(words(f"{names[0]}GONIO_{what}") for what in ("NAMES", "UNITS", "VALUES")), fillvalue=""
    )
    turns, distances = [], []
    for name, unit, value in axes:
        # One about the beam turns the frame in its plane, and moves no ring.
        if unit == "deg" and _is_number(value) and not name.lower().startswith("rotz"):
            turns.append(value)
        elif unit == "mm" and "dist" in name.lower():
            distances.append(value)
    # How many wavelengths, and these; the beam on the detector (x, y), and the edges of a pixel.
    sources = words("SCAN_WAVELENGTH") or words("SOURCE_WAVELENGTH")[1:]
    said = {
        "WAVELENGTH": sources[:1],
        "DISTANCE": distances,
        "PIXEL_SIZE": words(f"{names[0]}SPATIAL_DISTORTION_INFO")[2:],
        "TWOTHETA": sorted(turns, key=lambda value: -abs(float(value))),
        "CCD_IMAGE_SATURATION": words("SATURATED_VALUE"),
    }
    return {item: values[0] for item, values in said.items() if values}


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) >= 0
    except ValueError:
        return False
