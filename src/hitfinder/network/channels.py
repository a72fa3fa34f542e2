"""What the locator network takes: counts and expected background as maps."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

SIZE = 15
"""Pixels along a side of a crop: the receptive field of the locator."""

CHANNELS = (
    "residual",
    "deviance",
    "log_background",
    "reading",
    "radial_cos",
    "radial_sin",
    "texture",
)
"""Maps the locator takes, see `channels`."""

OUTPUTS = ("logit", "d_fs", "d_ss", "log_sigma_px", "root_photons", "log_sigma_root")
"""What the locator says of the middle pixel: log odds of a Bragg peak under the training's mixture;
where the spot is from the pixel's middle and the standard deviation of that (pixels, logarithm);
the square root of the spot's photons less that of the 3×3 pixels' excess, and its standard
deviation (logarithm)."""

LARGEST = 60.0
"""Residuals and deviances are cut there."""


@njit(cache=True, nogil=True)
def channels(counts, background, direction, texture, out):  # type: ignore[no-untyped-def]
    """Turn counts and background into the maps the locator takes.

    The residual 2 (√(n + 3/8) - √(b + 3/8)) has unit variance at high background (Anscombe,
    Biometrika 35, 246, 1948); the deviance residual sgn(n - b) √(2 (n ln(n/b) - n + b)) keeps its
    meaning where photons are rare (McCullagh & Nelder, Generalized Linear Models, section 2.4).

    Parameters
    ----------
    counts : ndarray of int, shape (n, rows, columns)
        Counts, -1 where there is no reading.
    background : ndarray of float32, shape (n, rows, columns)
        Expected photons.
    direction : ndarray of float32, shape (n, 2)
        Cosine and sine of twice the angle from fs to the direction away from the beam axis.
    texture : ndarray of float32, shape (n,)
        Relative variance of the frame's background about its rings' average.
    out : ndarray of float32, shape (n, len(CHANNELS), rows, columns)
        Written.
    """
    for c in range(counts.shape[0]):
        rough = (math.log(texture[c] + 1e-5) + 7.0) / 4.0
        for a in range(counts.shape[1]):
            for b in range(counts.shape[2]):
                n, mean = np.float32(counts[c, a, b]), background[c, a, b]
                out[c, 4, a, b], out[c, 5, a, b] = direction[c, 0], direction[c, 1]
                out[c, 6, a, b] = rough
                if n < 0:
                    out[c, 0, a, b] = out[c, 1, a, b] = out[c, 2, a, b] = out[c, 3, a, b] = 0.0
                    continue
                mean = max(mean, np.float32(1e-6))
                root = 2.0 * (math.sqrt(n + 0.375) - math.sqrt(mean + 0.375))
                deviance = mean - n
                if n > 0:
                    deviance += n * math.log(n / mean)
                size = math.sqrt(max(2.0 * deviance, 0.0))
                out[c, 0, a, b] = min(root, LARGEST) / 3.0
                out[c, 1, a, b] = (min(size, LARGEST) if n > mean else -size) / 3.0
                out[c, 2, a, b] = (math.log(mean + 1e-4) + 3.0) / 4.0
                out[c, 3, a, b] = 1.0


def radial_direction(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cosine and sine of twice the angle of the direction away from the beam axis, shape (n, 2).

    A streak points along the radius either way, hence twice the angle.
    """
    angle = 2 * np.arctan2(y, x)
    return np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)


def root_of_window(
    counts: NDArray[np.integer], background: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return the root of the photons above background in the middle 3×3 pixels, 1 at least."""
    middle = slice(SIZE // 2 - 1, SIZE // 2 + 2)
    excess = np.maximum(counts[:, middle, middle], 0).sum((1, 2), dtype=np.float64)
    excess -= background[:, middle, middle].sum((1, 2), dtype=np.float64)
    return np.sqrt(np.maximum(excess, 1.0)).astype(np.float32)
