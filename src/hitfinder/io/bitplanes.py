"""The pixels of a frame that hold photons, from the bit planes in which bitshuffle packs it.

Bitshuffle puts the bits of a block of counts into planes: one for the lowest bit of each count, one
for the next bit and on. Where few pixels hold a photon, all planes but the lowest ones are 0. See
`hitfinder.io.unpack` for the format, and for who describes it.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.io.unpack import DAMAGED, HEAD_BYTES, TOGETHER, block_length, decode_block, opened

PER_WORD = 64
"""Pixels of which a word of a plane has a bit."""

TOO_MANY = -1
"""Stands for the number of pixels where there is no room for them."""

_NOT_WHOLE = -2
_DE_BRUIJN = 0x03F79D71B4CB0A89
"""Its shifts by 0 to 63 bits differ in their six highest bits, which so tell the shift (Leiserson,
Prokop & Randall, Using de Bruijn sequences to index a 1 in a computer word, 1998)."""

_BITS = np.zeros(PER_WORD, np.int64)
_BITS[[(_DE_BRUIJN << shift) % 2**64 >> 58 for shift in range(PER_WORD)]] = range(PER_WORD)


def lit_from_planes(
    content: bytes,
    frame: NDArray[np.integer],
    wanted: NDArray[np.uint64],
    at: NDArray[np.int32],
    counts: NDArray[np.integer],
) -> int:
    """List the pixels of a packed frame that are not 0, and what they hold.

    Parameters
    ----------
    content : bytes
        Packed by bitshuffle and LZ4, with its head.
    frame : ndarray
        Of the frame's shape and type; neither read nor written.
    wanted, at, counts
        As for `hitfinder.io.shuffled.ShuffledFrame.list_lit`.

    Returns
    -------
    int
        Their number; `TOO_MANY` if there are more than there is surely room for, or the blocks
        do not end where the words of planes do.

    Raises
    ------
    ValueError
        If the content is damaged or of another size.
    """
    n_planes = 8 * frame.itemsize
    packed, block = opened(content, frame, n_planes)
    if block % (8 * n_planes) and block < frame.size // TOGETHER * n_planes:
        return TOO_MANY
    planes = np.zeros((n_planes, -(-block // (8 * n_planes))), np.uint64)
    # Of one type for frames of any, so that it is compiled once.
    values = np.empty(at.size, np.uint64)
    room, as_bytes = np.empty(block, np.uint8), planes.view(np.uint8)
    n = _list(packed, frame.size, wanted, planes, as_bytes, as_bytes.ravel(), room, at, values)
    if n == _NOT_WHOLE:
        raise ValueError(DAMAGED)
    counts[: max(n, 0)] = values[: max(n, 0)].astype(counts.dtype)
    return int(n)


def wanted_bits(wanted: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return which pixels `lit_from_planes` is to list, as the bits of its planes.

    Parameters
    ----------
    wanted : ndarray of bool, shape of a frame
        Whether they are to be listed.
    """
    n_words = -(-wanted.size // PER_WORD)
    bits = np.zeros(8 * n_words, np.uint8)
    packed = np.packbits(wanted.ravel(), bitorder="little")
    bits[: packed.size] = packed
    return bits.view(np.uint64)


@numba.njit(cache=True, nogil=True)
def _list(packed, n_pixels, wanted, planes, rows, flat, room, at, counts):  # type: ignore[no-untyped-def]
    """Do what `lit_from_planes` says, or return `_NOT_WHOLE`.

    `planes` are room for those of a block, 0; `rows` and `flat` are their bytes. `room` is that for
    an unpacked block, and `counts` are of 64 bits.
    """
    n_planes = planes.shape[0]
    itemsize = n_planes // 8
    end = n_pixels // TOGETHER * n_planes
    upper = np.empty(planes.shape[1], np.uint64)
    begin, to, n = HEAD_BYTES, 0, 0
    while to < end:
        length, size = block_length(packed, begin), min(room.size, end - to)
        begin += 4
        if length < 0 or length > packed.size - begin:
            return _NOT_WHOLE
        target = flat if size == flat.size else room
        if not decode_block(packed, begin, begin + length, target, 0, size):
            return _NOT_WHOLE
        if size < flat.size:
            # Those of a smaller block go where those of a whole one are, with 0 behind each.
            for plane in range(n_planes):
                for k in range(rows.shape[1]):
                    inside = k < size // n_planes
                    rows[plane, k] = room[plane * (size // n_planes) + k] if inside else 0
        _join_upper(planes, upper)
        n = _list_block(planes, upper, to // itemsize, wanted, at, counts, n)
        if n < 0:
            return n
        begin, to = begin + length, to + size
    if (n_pixels % TOGETHER) * itemsize > packed.size - begin:
        return _NOT_WHOLE
    for pixel in range(end // itemsize, n_pixels):
        value = np.uint64(0)
        for byte in range(itemsize):
            value |= np.uint64(packed[begin + byte]) << np.uint64(8 * byte)
        begin += itemsize
        is_wanted = wanted[pixel // PER_WORD] >> np.uint64(pixel % PER_WORD) & np.uint64(1)
        if value and is_wanted:
            if n >= at.size:
                return TOO_MANY
            at[n], counts[n] = pixel, value
            n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _join_upper(planes, upper):  # type: ignore[no-untyped-def]
    """Say which pixels have any bit but the lowest; on its own, as compilers vectorise it so."""
    upper[:] = 0
    for plane in range(1, planes.shape[0]):
        row = planes[plane]
        for word in range(upper.size):
            upper[word] |= row[word]


@numba.njit(cache=True, nogil=True)
def _list_block(planes, upper, first, wanted, at, counts, n):  # type: ignore[no-untyped-def]
    """List the pixels of a block after `n` others; return how many there are, or `TOO_MANY`."""
    one = np.uint64(1)
    before = first // PER_WORD
    for word in range(min(upper.size, wanted.size - before)):
        lit = (planes[0, word] | upper[word]) & wanted[before + word]
        if lit == 0:
            continue
        if n + PER_WORD > at.size:
            return TOO_MANY
        while lit != 0:
            lowest = lit & (~lit + one)
            bit = _BITS[(lowest * np.uint64(_DE_BRUIJN)) >> np.uint64(58)]
            value = one
            if upper[word] & lowest:
                value = np.uint64(0)
                for plane in range(planes.shape[0]):
                    value |= (planes[plane, word] >> np.uint64(bit) & one) << np.uint64(plane)
            at[n], counts[n] = first + PER_WORD * word + bit, value
            n += 1
            lit ^= lowest
    return n
