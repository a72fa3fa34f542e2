"""Where the pixels of a frame are on the page."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from hitfinder.geometry.geometry import Geometry
from hitfinder.report.detector_view import DetectorView

_NEIGHBOURS = 5
"""Neighbours of a pixel of the picture, of 8, that must show some pixel for it to be a chink."""


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Puts frames on the page as the report does, in pixels of their own size.

    Attributes
    ----------
    geometry : Geometry
        Where the pixels are, with every mask.
    """

    geometry: Geometry

    @functools.cached_property
    def view(self) -> DetectorView:
        """The picture, in pixels of the detector's size."""
        return DetectorView.of(self.geometry, 1.0)

    @functools.cached_property
    def pixels(self) -> NDArray[np.int32] | None:
        """Number of the stored pixel that each pixel of the picture shows, -1 for none.

        None if the picture is the frame as it is stored.
        """
        cells = self.view.cells.ravel()
        stored = np.arange(cells.size, dtype=np.int32)
        if self.view.shape == self.geometry.shape and np.array_equal(cells, stored):
            return None
        shown = np.full(self.view.shape[0] * self.view.shape[1], -1, np.int32)
        on = cells >= 0
        shown[cells[on]] = stored[on]
        picture = shown.reshape(self.view.shape)
        # Panels that are turned leave chinks, which show what is beside them.
        lit = (picture >= 0).astype(np.uint8)
        around = sum(
            np.roll(lit, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)
        )
        chinks = (picture < 0) & (around >= _NEIGHBOURS)
        return np.where(chinks, maximum_filter(picture, 3), picture)

    def told(self) -> dict[str, object]:
        """Return what the page needs to draw rings and tell places, ready for JSON."""
        geometry, view = self.geometry, self.view
        rings = [
            {"resolution_a": resolution, "column": ring[0], "row": ring[1], "radius": ring[2]}
            for resolution, ring in view.rings()
        ]
        column, row = (float(place) for place in -view.origin / view.pitch_m)
        return {
            "shape": list(geometry.shape),
            "picture": list(view.shape),
            "as_stored": self.pixels is None,
            "beam": [column, row],
            "pixel_m": view.pitch_m,
            "camera_length_m": geometry.camera_length_m,
            "wavelength_a": geometry.wavelength_a,
            "rings": rings,
        }
