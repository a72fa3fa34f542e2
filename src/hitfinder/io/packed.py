"""Unpack counts as CBFlib packs them (``x-CBF_PACKED``, ``x-CBF_PACKED_V2``).

The packing is that of J. P. Abrahams for CCP4, as the CBFlib manual describes it ("CBF packed
compression"): each count is predicted from its neighbours, and the difference is stored in as few
bits as a run of 1 to 128 counts needs. The bits of a byte are used from the lowest on.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

HEAD_BYTES = 32
"""Number of counts, least and greatest of them, and a reserved field, of 8 bytes each."""

_RUN_BITS = 3
_ALL_BITS = 65
_WIDTHS = np.array([0, 4, 5, 6, 7, 8, 16, _ALL_BITS], np.int64)
_WIDTHS_V2 = np.array([0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, _ALL_BITS], np.int64)
"""Bits of a difference, by the code of the run."""


def unpack(
    packed: bytes,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    *,
    second_version: bool = False,
    flat: bool = False,
    separate: bool = False,
) -> tuple[NDArray, int]:
    """Unpack counts.

    Parameters
    ----------
    packed : bytes
        A binary section, with its head.
    shape : tuple of int
        Sections, rows and columns.
    dtype : numpy.dtype
        Integers of 8, 16 or 32 bits.
    second_version : bool
        Whether it is ``x-CBF_PACKED_V2``.
    flat : bool
        Whether each count was predicted from the one before alone.
    separate : bool
        Whether sections were packed without regard to one another.

    Returns
    -------
    counts : ndarray of int64, shape `shape`
    n_read : int
        Counts that there were bits for.
    """
    out = np.zeros(int(np.prod(shape)), np.int64)
    stream = np.frombuffer(packed, np.uint8)[HEAD_BYTES:]
    widths = _WIDTHS_V2 if second_version else _WIDTHS
    signed = dtype.kind == "i"
    n_read = _unpack(
        stream, out, shape[1], shape[2], widths, 8 * dtype.itemsize, signed, flat, separate
    )
    return out.reshape(shape), n_read


@numba.njit(cache=True, nogil=True)
def _unpack(stream, out, n_rows, n_columns, widths, width, signed, flat, separate):
    """Fill `out`; return how many counts there were bits for."""
    code_bits = _RUN_BITS + (4 if widths.size > 8 else 3)
    at, done, end = 0, 0, 8 * stream.size
    # An unsigned count begins from zero, as a signed one does: the offset is taken off again.
    predicted = 0
    while done < out.size:
        if at + code_bits > end:
            return done
        code = _bits(stream, at, code_bits)
        at += code_bits
        run = 1 << (code & 7)
        bits = widths[code >> _RUN_BITS]
        if bits == _ALL_BITS:
            bits = width
        for _ in range(min(run, out.size - done)):
            if at + bits > end:
                return done
            step = _signed(_bits(stream, at, bits), bits) if bits else 0
            at += bits
            value = _wrapped(predicted + step, width)
            if not signed and value < 0:
                value += 1 << width
            out[done] = value
            done += 1
            if flat:
                predicted = value
            elif done < out.size:
                predicted = _prediction(out, done, n_rows, n_columns, width, separate)
    return done


@numba.njit(cache=True, nogil=True)
def _bits(stream, at, count):
    """Return a number of up to 32 bits from any place of a stream."""
    value, got = 0, 0
    while got < count:
        shift = (at + got) & 7
        take = min(8 - shift, count - got)
        byte = (np.int64(stream[(at + got) >> 3]) >> shift) & ((1 << take) - 1)
        value |= byte << got
        got += take
    return value


@numba.njit(cache=True, nogil=True)
def _signed(value, bits):
    """Read the highest bit as a sign."""
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


@numba.njit(cache=True, nogil=True)
def _wrapped(value, width):
    """Cut a sum to its lowest bits and read them as a signed number."""
    return _signed(value & ((1 << width) - 1), width)


@numba.njit(cache=True, nogil=True)
def _prediction(out, place, n_rows, n_columns, width, separate):
    """Return the mean of the neighbours that come before a place, 1, 2, 4 or 8 of them.

    They are the one before and three of the row before; and the same four of the section before,
    shifted by one, unless sections are separate.
    """
    plane = n_rows * n_columns
    column, row, section = place % n_columns, place // n_columns % n_rows, place // plane
    if row == 0:
        return out[place - 1] if column else out[place - plane]
    total, count = 0, 0
    above = place - n_columns
    for layer in range(1 if separate or section == 0 else 2):
        back = layer * plane
        total += out[above - back]
        count += 1
        if 0 < column < n_columns - 1:
            total += out[above + 1 - back] + out[above - 1 - back]
            count += 2
        elif column == 0:
            total += out[above + 1 - back]
            count += 1
        if column:
            total += out[place - 1 + (1 if layer else 0) - back]
            count += 1
    shift = 0 if count == 1 else 1 if count == 2 else 2 if count == 4 else 3
    return (_wrapped(total, width) + (count >> 1 if shift else 0)) >> shift
