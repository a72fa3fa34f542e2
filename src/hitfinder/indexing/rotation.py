"""Compiled: the rotation that turns one set of directions onto another best.

B. K. P. Horn, J. Opt. Soc. Am. A 4, 629 (1987): its quaternion is the eigenvector of a symmetric
matrix of four rows with the largest eigenvalue. Numba takes ten seconds to compile what the
singular values of W. Kabsch's method (Acta Cryst. A32, 922, 1976) need, which finds the same.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SWEEPS = 30
_DONE = 1e-17
_DETERMINED = 2e-9


@numba.njit(cache=True, nogil=True)
def fill_rotation(moment: Floats, out: Floats) -> bool:
    """Fill in the rotation R for which the sum of w y·R x over pairs of vectors is largest.

    Parameters
    ----------
    moment : ndarray, shape (3, 3)
        Sum of w y xᵀ over the pairs (x, y) of weight w.
    out : ndarray, shape (3, 3)
        Written: the rotation.

    Returns
    -------
    bool
        Whether it is determined: it is not if all vectors lie in a row.
    """
    matrix, vectors = np.empty((4, 4)), np.zeros((4, 4))
    xx, yy, zz = moment[0, 0], moment[1, 1], moment[2, 2]
    matrix[0, 0], matrix[1, 1] = xx + yy + zz, xx - yy - zz
    matrix[2, 2], matrix[3, 3] = yy - xx - zz, zz - xx - yy
    matrix[0, 1] = matrix[1, 0] = moment[2, 1] - moment[1, 2]
    matrix[0, 2] = matrix[2, 0] = moment[0, 2] - moment[2, 0]
    matrix[0, 3] = matrix[3, 0] = moment[1, 0] - moment[0, 1]
    matrix[1, 2] = matrix[2, 1] = moment[1, 0] + moment[0, 1]
    matrix[1, 3] = matrix[3, 1] = moment[0, 2] + moment[2, 0]
    matrix[2, 3] = matrix[3, 2] = moment[2, 1] + moment[1, 2]
    _diagonalise(matrix, vectors)
    best = 0
    for k in range(1, 4):
        best = k if matrix[k, k] > matrix[best, best] else best
    second = -math.inf
    for k in range(4):
        second = max(second, matrix[k, k]) if k != best else second
    w, x, y, z = vectors[0, best], vectors[1, best], vectors[2, best], vectors[3, best]
    out[0, 0], out[0, 1], out[0, 2] = (
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
    )
    out[1, 0], out[1, 1], out[1, 2] = (
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
    )
    out[2, 0], out[2, 1], out[2, 2] = (
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    )
    return bool(matrix[best, best] - second > _DETERMINED * matrix[best, best])


@numba.njit(cache=True, nogil=True)
def _diagonalise(matrix: Floats, vectors: Floats) -> None:
    """Turn a symmetric matrix until only its diagonal is left; `vectors` gets the columns.

    Jacobi's method (G. H. Golub & C. F. Van Loan, Matrix Computations, section 8.5).
    """
    n = len(matrix)
    for p in range(n):
        vectors[p, p] = 1.0
    for _ in range(_SWEEPS):
        off = size = 0.0
        for p in range(n):
            size += abs(matrix[p, p])
            for q in range(p + 1, n):
                off += abs(matrix[p, q])
        if off <= _DONE * size:
            return
        for p in range(n):
            for q in range(p + 1, n):
                if matrix[p, q] != 0.0:
                    _turn_plane(matrix, vectors, p, q)


@numba.njit(cache=True, nogil=True)
def _turn_plane(matrix: Floats, vectors: Floats, p: int, q: int) -> None:
    """Turn in the plane of two axes so that their element vanishes."""
    slope = 0.5 * (matrix[q, q] - matrix[p, p]) / matrix[p, q]
    tangent = math.copysign(1.0, slope) / (abs(slope) + math.hypot(slope, 1.0))
    cosine = 1.0 / math.hypot(tangent, 1.0)
    sine = tangent * cosine
    for k in range(len(matrix)):
        one, other = matrix[k, p], matrix[k, q]
        matrix[k, p], matrix[k, q] = cosine * one - sine * other, sine * one + cosine * other
    for k in range(len(matrix)):
        one, other = matrix[p, k], matrix[q, k]
        matrix[p, k], matrix[q, k] = cosine * one - sine * other, sine * one + cosine * other
        one, other = vectors[k, p], vectors[k, q]
        vectors[k, p], vectors[k, q] = cosine * one - sine * other, sine * one + cosine * other
    matrix[p, q] = matrix[q, p] = 0.0
