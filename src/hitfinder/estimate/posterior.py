"""Maximum of the likelihood, and the posterior around it, compiled.

Points are x = (ln E, ln D), E in eV and D in m.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from hitfinder.estimate.grid import RING_Q
from hitfinder.estimate.model import fill_model, log_likelihood
from hitfinder.units import HC_EV_ANGSTROM

_DERIVATIVE_STEP = 2e-3
_LONGEST_STEP = 0.2
_ITERATIONS = 25
_CONVERGED = 1e-3
MOST_SLICES = 21
"""Most slices of constant energy in `integrate`."""

_N_NODES = 5
_NODE_STEP = 1.35
_STRAIGHT = 0.2


@numba.njit(cache=True, nogil=True)
def score_and_information(x, data, buffers, score, information):  # type: ignore[no-untyped-def]
    """Write the gradient of log L and the Fisher information at x.

    For a multinomial law, d log L = Σ (n - N p) d log m and I = N cov_p(d log m), with the
    probabilities p of the bins and the covariance over them (Lehmann & Casella, Theory of Point
    Estimation, 2nd ed., section 2.5).

    Parameters
    ----------
    x : ndarray, shape (2,)
        Point.
    data : tuple of ndarray
        Photons and the pixels they fell on, shape (n_rings, n_azimuths), and `rings`, `cells` and
        `water` of `WaterModel`.
    buffers : ndarray, shape (5, n_rings, n_azimuths)
        Overwritten.
    score : ndarray, shape (2,)
        Written.
    information : ndarray, shape (2, 2)
        Written.
    """
    counts, exposure, rings, cells, water = data
    h = _DERIVATIVE_STEP
    energy, length = math.exp(x[0]), math.exp(x[1])
    fill_model(energy, length, rings, cells, water, buffers[0])
    fill_model(energy * math.exp(h), length, rings, cells, water, buffers[1])
    fill_model(energy * math.exp(-h), length, rings, cells, water, buffers[2])
    fill_model(energy, length * math.exp(h), rings, cells, water, buffers[3])
    fill_model(energy, length * math.exp(-h), rings, cells, water, buffers[4])
    photons = total = n0 = n1 = p0 = p1 = p00 = p01 = p11 = 0.0
    for k in range(counts.shape[0]):
        for a in range(counts.shape[1]):
            model, n = buffers[0, k, a], counts[k, a]
            p = exposure[k, a] * model
            if p <= 0.0:
                continue
            d0 = (buffers[1, k, a] - buffers[2, k, a]) / (2.0 * h * model)
            d1 = (buffers[3, k, a] - buffers[4, k, a]) / (2.0 * h * model)
            photons += n
            total += p
            n0, n1 = n0 + n * d0, n1 + n * d1
            p0, p1 = p0 + p * d0, p1 + p * d1
            p00, p01, p11 = p00 + p * d0 * d0, p01 + p * d0 * d1, p11 + p * d1 * d1
    if total <= 0.0:
        score[:] = 0.0
        information[:] = 0.0
        return
    p0, p1 = p0 / total, p1 / total
    score[0], score[1] = n0 - photons * p0, n1 - photons * p1
    information[0, 0] = photons * (p00 / total - p0 * p0)
    information[1, 1] = photons * (p11 / total - p1 * p1)
    information[0, 1] = information[1, 0] = photons * (p01 / total - p0 * p1)


@numba.njit(cache=True, nogil=True)
def climb(x, box, data, information):  # type: ignore[no-untyped-def]
    """Move x to the maximum of log L within a box, by Fisher scoring.

    Parameters
    ----------
    x : ndarray, shape (2,)
        Start; moved.
    box : ndarray, shape (2, 2)
        Limits of each coordinate; one whose limits are equal stays there.
    data : tuple of ndarray
        As for `score_and_information`.
    information : ndarray, shape (2, 2)
        Written: Fisher information at the maximum.

    Returns
    -------
    float
        log L there.
    """
    buffers = np.empty((5, *data[0].shape))
    score, step, new = np.empty(2), np.empty(2), np.empty(2)
    for i in range(2):
        x[i] = min(max(x[i], box[i, 0]), box[i, 1])
    here = log_likelihood(math.exp(x[0]), math.exp(x[1]), data)
    for _ in range(_ITERATIONS):
        score_and_information(x, data, buffers, score, information)
        if not _step(x, box, score, information, step):
            break
        scale = min(1.0, _LONGEST_STEP / max(abs(step[0]), abs(step[1]), 1e-12))
        gain = score[0] * step[0] + score[1] * step[1]
        moved = False
        for _ in range(8):
            for i in range(2):
                new[i] = min(max(x[i] + scale * step[i], box[i, 0]), box[i, 1])
            there = log_likelihood(math.exp(new[0]), math.exp(new[1]), data)
            if there > here:
                x[0], x[1], here, moved = new[0], new[1], there, True
                break
            scale *= 0.3
        if not moved or gain < _CONVERGED:
            break
    score_and_information(x, data, buffers, score, information)
    return here


@numba.njit(cache=True, nogil=True)
def _step(x, box, score, information, step):  # type: ignore[no-untyped-def]
    """Write the scoring step in the coordinates that can move; False if none can."""
    free0 = not (
        box[0, 0] == box[0, 1]
        or (x[0] <= box[0, 0] and score[0] < 0)
        or (x[0] >= box[0, 1] and score[0] > 0)
    )
    free1 = not (
        box[1, 0] == box[1, 1]
        or (x[1] <= box[1, 0] and score[1] < 0)
        or (x[1] >= box[1, 1] and score[1] > 0)
    )
    i00, i01, i11 = information[0, 0], information[0, 1], information[1, 1]
    det = i00 * i11 - i01 * i01
    step[0] = step[1] = 0.0
    if free0 and free1 and det > 1e-12 * i00 * i11 and det > 0.0:
        step[0] = (i11 * score[0] - i01 * score[1]) / det
        step[1] = (i00 * score[1] - i01 * score[0]) / det
    elif free0 and i00 > 0.0:
        step[0] = score[0] / i00
    elif free1 and i11 > 0.0:
        step[1] = score[1] / i11
    return step[0] != 0.0 or step[1] != 0.0


@numba.njit(cache=True, nogil=True, inline="always")
def _log_tangent(v):  # type: ignore[no-untyped-def]
    """Logarithm of the radius of water's ring over the camera length, at ln E = v."""
    sine = RING_Q * HC_EV_ANGSTROM / (4.0 * math.pi * math.exp(v))
    return math.log(math.tan(2.0 * math.asin(sine)))


@numba.njit(cache=True, nogil=True)
def integrate(x, low, high, n_slices, box, information, data, nodes):  # type: ignore[no-untyped-def]
    """Sample the posterior around its maximum, uniform in E and ln D within a box.

    Slices of constant energy, in each of them nodes across the ridge of the likelihood, which is
    followed from slice to slice; it runs along a constant radius of water's ring.

    Parameters
    ----------
    x : ndarray, shape (2,)
        Maximum within the box.
    low, high : float
        ln E of the first and the last slice; one slice if they are equal.
    n_slices : int
        Number of slices.
    box : ndarray, shape (2, 2)
        Limits.
    information : ndarray, shape (2, 2)
        Fisher information at x.
    data : tuple of ndarray
        As for `score_and_information`.
    nodes : ndarray, shape (n, 4)
        Written: ln E, ln D, log L and weight (the element of area).

    Returns
    -------
    int
        Number of nodes.
    """
    i01, i11 = information[0, 1], information[1, 1]
    fixed_length = box[1, 0] == box[1, 1]
    # The ridge is followed where it is long enough to bend.
    bent = not fixed_length and high - low > _STRAIGHT
    across = 1.0 / math.sqrt(max(i11, 1e-12))
    n_slices = 1 if low >= high else n_slices
    dv = (high - low) / max(n_slices - 1, 1)
    middle = 0 if n_slices == 1 else min(max(round((x[0] - low) / dv), 0), n_slices - 1)
    slope = -i01 / max(i11, 1e-12)
    slope += (_log_tangent(x[0] + 1e-4) - _log_tangent(x[0] - 1e-4)) / 2e-4
    n = 0
    for side in (1, -1):
        ridge, previous, sigma = x[1] + _log_tangent(x[0]), x[0], across
        index = middle if side == 1 else middle - 1
        while 0 <= index < n_slices:
            v = low + index * dv
            edge = n_slices > 1 and (index == 0 or index == n_slices - 1)
            weight = (0.5 if edge else 1.0) * (dv if n_slices > 1 else 1.0) * math.exp(v)
            tangent = _log_tangent(v)
            ridge += slope * (v - previous)
            previous = v
            if bent:
                w, sigma = _recentre(v, ridge - tangent, sigma, data)
                ridge = w + tangent
            n = _slice(
                v, ridge - tangent, sigma, box, weight,
                data, nodes, n,
            )  # fmt: skip
            index += side
    return n


@numba.njit(cache=True, nogil=True)
def _recentre(v, w, sigma, data):  # type: ignore[no-untyped-def]
    """Return the maximum of log L over ln D near w, and its width, from a parabola."""
    energy = math.exp(v)
    here = log_likelihood(energy, math.exp(w), data)
    above = log_likelihood(energy, math.exp(w + sigma), data)
    below = log_likelihood(energy, math.exp(w - sigma), data)
    bend = 2.0 * here - above - below
    if bend <= 0.0:
        return w, sigma
    move = 0.5 * (above - below) / bend * sigma
    width = sigma / math.sqrt(bend)
    return w + min(max(move, -3.0 * sigma), 3.0 * sigma), min(max(width, 0.5 * sigma), 2.0 * sigma)


@numba.njit(cache=True, nogil=True)
def _slice(v, w, sigma, box, weight, data, nodes, n):  # type: ignore[no-untyped-def]
    """Write the nodes of one slice; return the number of nodes so far."""
    energy = math.exp(v)
    inside = min(max(w, box[1, 0]), box[1, 1])
    # Outside the box, what is left inside falls off from the edge within sigma² / distance.
    reach = 0.5 * (_N_NODES - 1) * _NODE_STEP * sigma / (1.0 + abs(w - inside) / sigma)
    low, high = max(box[1, 0], inside - reach), min(box[1, 1], inside + reach)
    n_nodes = 1 if low == high else _N_NODES
    dw = (high - low) / max(n_nodes - 1, 1)
    for j in range(n_nodes):
        at = low + j * dw
        edge = n_nodes > 1 and (j == 0 or j == n_nodes - 1)
        nodes[n, 0], nodes[n, 1] = v, at
        nodes[n, 2] = log_likelihood(energy, math.exp(at), data)
        nodes[n, 3] = weight * (0.5 if edge else 1.0) * (dw if n_nodes > 1 else 1.0)
        n += 1
    return n


def empty_nodes() -> np.ndarray:
    """Return an array that holds the nodes of `integrate`."""
    return np.empty((MOST_SLICES * _N_NODES, 4))
