"""Photons of Bragg peaks that are too weak to be cut out, told from those that are cut.

At one resolution the intensities of reflections are exponentially distributed (Wilson, Acta Cryst.
2, 318 (1949)), and the photons counted of a peak follow a geometric law. How many more peaks are
cut for a single pixel than for the sum of a block, which asks for more photons, gives the mean of
that law, and with it how many photons weaker peaks have left among the water's.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

_RINGS_AROUND = 6
"""Rings on either side that peaks are counted in, as a single ring has few."""

_LEAST_PEAKS = 1.0
_LEAST_SIGMAS = 5.0
_MOST_WEAKER = 30.0
"""Most peaks that there can be for each one that is cut: beyond, they are hardly known."""


@dataclasses.dataclass(frozen=True, eq=False)
class CutPeaks:
    """Blocks that were cut for being bright.

    Attributes
    ----------
    by_sum, by_pixel : ndarray, shape (n_rings,)
        Blocks cut for their sum, and for a pixel alone.
    by_chance : ndarray, shape (n_rings,)
        How many would be cut for a pixel alone without any peaks.
    sum_photons, pixel_photons : ndarray, shape (n_rings,)
        Photons above the expected ones from which a block, and a pixel, are cut.
    pixels : ndarray, shape (n_rings,)
        Pixels of the blocks that were kept.
    """

    by_sum: NDArray[np.float64]
    by_pixel: NDArray[np.float64]
    by_chance: NDArray[np.float64]
    sum_photons: NDArray[np.float64]
    pixel_photons: NDArray[np.float64]
    pixels: NDArray[np.float64]

    def left(self) -> NDArray[np.float64]:
        """Return the photons that weaker peaks have probably left, shape (n_rings,).

        0 where there are no more bright blocks than by chance. A geometric law of mean
        M = q / (1 - q) has qᵏ of its peaks at k photons and more, and with N peaks of p photons
        and more come N (M (q⁻ᵖ - 1) - p) photons of weaker ones. For single shots of simulated
        crystals this is 0.5 to 0.8 of the photons left.
        """
        chance = self.by_chance.sum()
        found = self.by_sum.sum() + self.by_pixel.sum()
        if found - chance < _LEAST_PEAKS + _LEAST_SIGMAS * np.sqrt(1 + chance):
            return np.zeros_like(self.pixels)
        around, own = np.ones(2 * _RINGS_AROUND + 1), slice(_RINGS_AROUND, -_RINGS_AROUND)
        bright, faint, pixels = (
            # A small detector has fewer rings than are counted together.
            np.convolve(one, around)[own]
            for one in (self.by_sum, self.by_pixel - self.by_chance, self.pixels)
        )
        faint = np.maximum(faint, 0)
        least = self.pixel_photons
        steps = np.maximum(self.sum_photons - least, 1)
        rise = np.log1p(faint / np.maximum(bright, _LEAST_PEAKS)) / steps
        rise = np.clip(rise, 1e-6, np.log(_MOST_WEAKER) / np.maximum(least, 1))
        photons = (bright + faint) * (np.expm1(rise * least) / np.expm1(rise) - least)
        return np.maximum(photons, 0) * self.pixels / np.maximum(pixels, 1)
