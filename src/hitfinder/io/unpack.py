"""Unpack counts as HDF5's bitshuffle and LZ4 filters pack them; detectors send them so, too.

Both formats begin with a head of 12 bytes: the unpacked bytes (8, big-endian) and those of a block
(4). Then come the blocks, each an LZ4 block with its packed bytes before it (4). Sources: Masui et
al. (2015), Astronomy and Computing 12, 181 for bitshuffle; the LZ4 block format description; HDF5's
registered filters 32008 and 32004 for the heads. Nothing that a file claims is trusted.
"""

from __future__ import annotations

import struct

import numba
import numpy as np
from numpy.typing import NDArray

HEAD_BYTES = 12
"""Bytes before the first block."""

DAMAGED = "the packed values are damaged or cut short"

_HEAD = struct.Struct(">QI")
TOGETHER = 8
"""Values whose bits are shuffled together; what is left of a frame is stored as it is."""

_FEW_LIT = 3
"""Words of eight groups for each that is not 0 from which on these are entered one by one."""

_LEAST_MATCH = 4
_SHORT = 2
"""Packers tell a run of one byte by its repeating what is a byte or two back."""

_LONG = 15
"""A length that goes on in the next bytes."""

_FEW_LITERALS, _FEW_MATCHED = 4, 16
"""Bytes up to which pieces are copied one by one, as most are that short: loops over more bytes at
once take longer to begin. Of 2 to 16 and 12 to 64 bytes these took the least time (simulated frames
of 1, 100 and 2,000 shots)."""


def unpack(content: bytes, packing: str, out: NDArray) -> None:
    """Unpack the values of one frame.

    Parameters
    ----------
    content : bytes
        Packed values, with their head.
    packing : {"bslz4", "lz4"}
        Bitshuffle and LZ4, or LZ4 alone.
    out : ndarray
        Contiguous array of items of 1, 2, 4 or 8 bytes, to fill. Its bytes become what was packed,
        whatever their order.

    Raises
    ------
    ValueError
        If the content is damaged or of another size.
    """
    step = 1 if packing == "lz4" else TOGETHER * out.itemsize
    packed, block = opened(content, out, step)
    values = out.reshape(-1).view(f"u{out.itemsize}")
    if packing == "lz4":
        whole = _join(packed, values.view(np.uint8), block)
    else:
        whole = _unshuffle(packed, values, values.view(np.uint8), block)
    if not whole:
        raise ValueError(DAMAGED)


def check_blocks(content: bytes, out: NDArray) -> None:
    """Check what another program is to unpack: its size, and that no block ends behind its end.

    HDF5's bitshuffle filter believes both.

    Parameters
    ----------
    content : bytes
        Values packed by bitshuffle and any compressor, with their head.
    out : ndarray
        What they are to fill.

    Raises
    ------
    ValueError
        If the content is damaged or of another size.
    """
    packed, block = opened(content, out, TOGETHER * out.itemsize)
    left = out.nbytes % (TOGETHER * out.itemsize)
    n_blocks = -(-(out.nbytes - left) // block) if block else 0
    if not _hold(packed, n_blocks, left):
        raise ValueError("the packed values are cut short")


def opened(content: bytes, out: NDArray, step: int) -> tuple[NDArray[np.uint8], int]:
    """Check the head; return the content as an array, and the bytes of an unpacked block."""
    if len(content) < HEAD_BYTES:
        raise ValueError(f"{len(content)} bytes are no packed frame")
    size, block = _HEAD.unpack_from(content)
    if size != out.nbytes:
        raise ValueError(f"a chunk of {size} bytes where {out.nbytes} are expected")
    if block == 0 or block % step:
        raise ValueError(f"blocks of {block} bytes")
    return np.frombuffer(content, np.uint8), min(block, size - size % step)


@numba.njit(cache=True, nogil=True)
def _hold(packed, n_blocks, left):
    """Whether a number of blocks, and `left` more bytes, are all there."""
    at = HEAD_BYTES
    for _ in range(n_blocks):
        length = block_length(packed, at)
        at += 4
        if length < 0 or length > packed.size - at:
            return False
        at += length
    return left <= packed.size - at


@numba.njit(cache=True, nogil=True)
def _join(packed, out, block):
    """Unpack blocks of bytes one behind the other; return whether all was there."""
    at, to = HEAD_BYTES, 0
    while to < out.size:
        length = block_length(packed, at)
        stop = min(to + block, out.size)
        at += 4
        if length < 0 or length > packed.size - at:
            return False
        if length == stop - to:  # A block that would not become smaller is stored as it is.
            _copy(packed, at, out, to, length)
        elif not decode_block(packed, at, at + length, out, to, stop):
            return False
        at, to = at + length, stop
    return True


@numba.njit(cache=True, nogil=True)
def _unshuffle(packed, out, raw, block):
    """Unpack blocks of shuffled values; return whether all was there. `raw` is `out` as bytes."""
    itemsize = out.itemsize
    room, at, to = room_for_block(block, itemsize), HEAD_BYTES, 0
    while to < out.size:
        n_values = values_in_block(to, out.size, block // itemsize)
        at = unshuffle_block(packed, at, room, out, raw, to, n_values)
        if at < 0:
            return False
        to += n_values
    return True


@numba.njit(cache=True, nogil=True)
def room_for_block(block, itemsize):
    """Return the room that `unshuffle_block` needs, for blocks of so many bytes."""
    n_groups = block // (TOGETHER * itemsize)
    # The last one ends on a whole word.
    return (
        np.empty(block, np.uint8),
        np.empty(n_groups, np.uint64),
        np.empty((n_groups + 7) // 8 * 8, np.uint8),
    )


@numba.njit(cache=True, nogil=True)
def values_in_block(to, n_values, most):
    """Return how many of a frame's values the block has that begins with number `to`.

    The last ones, fewer than `TOGETHER`, count as a block too.
    """
    whole = n_values - n_values % TOGETHER
    return min(most, whole - to) if to < whole else n_values - whole


@numba.njit(cache=True, nogil=True)
def unshuffle_block(packed, at, room, out, raw, to, n_values):
    """Unpack the next block of shuffled values.

    Parameters
    ----------
    packed : ndarray of uint8
        Packed blocks.
    at : int
        Place where the block begins.
    room : tuple of ndarray
        From `room_for_block`.
    out : ndarray of an unsigned type, shape (n,)
        Written.
    raw : ndarray of uint8
        The memory of `out`.
    to : int
        Number of the first value to write.
    n_values : int
        Values of the block; those of a block of fewer than `TOGETHER` are stored as they are.

    Returns
    -------
    int
        Place where the next block begins; -1 if this one is damaged.
    """
    planes, turned, lit = room
    size = n_values * out.itemsize
    if n_values < TOGETHER:
        if size > packed.size - at:
            return -1
        _copy(packed, at, raw, to * out.itemsize, size)
        return at + size
    length = block_length(packed, at)
    at += 4
    if length < 0 or length > packed.size - at:
        return -1
    if not decode_block(packed, at, at + length, planes, 0, size):
        return -1
    _turn(planes, turned, lit, out, to, n_values)
    return at + length


@numba.njit(cache=True, nogil=True)
def _turn(planes, turned, lit, out, first, n_values):
    """Put the values of a block together from its planes, one for each of their bits.

    `turned` and `lit` are room for a number and a byte for each group of values; `lit` ends on a
    whole word.
    """
    n_groups = n_values // TOGETHER
    values = out[first : first + n_values]
    for i in range(n_values):
        values[i] = 0
    lit[n_groups:] = 0
    words = lit.view(np.uint64)
    for byte in range(out.itemsize):
        rows = planes[byte * n_values : (byte + 1) * n_values].reshape(8, n_groups)
        for group in range(n_groups):
            upper = rows[0, group] | rows[1, group] | rows[2, group] | rows[3, group]
            lower = rows[4, group] | rows[5, group] | rows[6, group] | rows[7, group]
            lit[group] = upper | lower
        n_lit = 0
        for word in range(words.size):
            n_lit += words[word] != np.uint64(0)
        if n_lit == 0:  # the upper bytes of counts are, nearly always
            continue
        if _FEW_LIT * n_lit < words.size:
            _enter_few(rows, lit, words, byte, values)
            continue
        for group in range(n_groups):
            turned[group] = _turned(rows, group)
        ordered = turned.view(np.uint8)
        for i in range(n_values):
            values[i] |= out.dtype.type(ordered[i]) << out.dtype.type(8 * byte)


@numba.njit(cache=True, nogil=True)
def _enter_few(rows, lit, words, byte, values):
    """Enter one byte of the values of the groups that are not all 0, where these are few."""
    kind = values.dtype.type
    for word in range(words.size):
        if words[word] == np.uint64(0):
            continue
        for group in range(8 * word, min(8 * word + 8, rows.shape[1])):
            if lit[group] == 0:
                continue
            bits = _turned(rows, group)
            for k in range(TOGETHER):
                part = (bits >> np.uint64(8 * k)) & np.uint64(255)
                values[TOGETHER * group + k] |= kind(part) << kind(8 * byte)


@numba.njit(cache=True, nogil=True)
def _turned(rows, group):
    """Return one byte of each of the values of a group, the first in the lowest bits."""
    bits = np.uint64(rows[0, group])
    bits |= np.uint64(rows[1, group]) << np.uint64(8)
    bits |= np.uint64(rows[2, group]) << np.uint64(16)
    bits |= np.uint64(rows[3, group]) << np.uint64(24)
    bits |= np.uint64(rows[4, group]) << np.uint64(32)
    bits |= np.uint64(rows[5, group]) << np.uint64(40)
    bits |= np.uint64(rows[6, group]) << np.uint64(48)
    bits |= np.uint64(rows[7, group]) << np.uint64(56)
    return _transposed(bits)


@numba.njit(cache=True, nogil=True)
def _transposed(bits):
    """Turn 8 bytes of 8 bits about their diagonal (Warren, Hacker's Delight, 7-3)."""
    swap = (bits ^ (bits >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
    bits = bits ^ swap ^ (swap << np.uint64(7))
    swap = (bits ^ (bits >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
    bits = bits ^ swap ^ (swap << np.uint64(14))
    swap = (bits ^ (bits >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
    return bits ^ swap ^ (swap << np.uint64(28))


@numba.njit(cache=True, nogil=True)
def block_length(packed, at):
    """Read the packed bytes of a block from the number before it, or return -1 behind the end."""
    if at + 4 > packed.size:
        return -1
    length = np.int64(0)
    for i in range(4):
        length = length << 8 | np.int64(packed[at + i])
    return length


@numba.njit(cache=True, nogil=True)
def _copy(source, at, out, to, count):
    given, taken = source[at : at + count], out[to : to + count]
    for i in range(count):
        taken[i] = given[i]


@numba.njit(cache=True, nogil=True)
def _fill(out, to, count, value):
    filled = out[to : to + count]
    for i in range(count):
        filled[i] = value


# Bytes are made signed: Numba takes the sum of a signed and an unsigned place for a fraction.


@numba.njit(cache=True, nogil=True)
def decode_block(packed, at, end, out, begin, stop):
    """Unpack an LZ4 block, ``packed[at:end]``, to ``out[begin:stop]``; return whether it fits."""
    to = begin
    while at < end:
        token = np.int64(packed[at])
        at, count = at + 1, token >> 4
        if count == _LONG:
            at, count = _go_on(packed, at, end)
        if at < 0 or count > end - at or count > stop - to:
            return False
        if count <= _FEW_LITERALS:
            for i in range(count):
                out[to + i] = packed[at + i]
        else:
            _copy(packed, at, out, to, count)
        at, to = at + count, to + count
        if at == end:
            return to == stop
        if end - at < 2:
            return False
        back = np.int64(packed[at]) | np.int64(packed[at + 1]) << 8
        at, count = at + 2, token & 15
        if count == _LONG:
            at, count = _go_on(packed, at, end)
        count += _LEAST_MATCH
        if at < 0 or back == 0 or back > to - begin or count > stop - to:
            return False
        # Runs of one byte are most of the bits that no count of a block has.
        if back <= _SHORT and out[to - back] == out[to - 1]:
            _fill(out, to, count, out[to - 1])
            to += count
            continue
        if count <= _FEW_MATCHED:
            for i in range(to, to + count):
                out[i] = out[i - back]
            to += count
            continue
        # What repeats itself is copied in pieces that do not overlap, each twice as long.
        while count > back:
            _copy(out, to - back, out, to, back)
            to, count, back = to + back, count - back, 2 * back
        _copy(out, to - back, out, to, count)
        to += count
    return False


@numba.njit(cache=True, nogil=True)
def _go_on(packed, at, end):
    """Read the rest of a length that is in more bytes; return the next place, -1 behind the end."""
    count = np.int64(_LONG)
    while True:
        if at >= end:
            return -1, count
        more = np.int64(packed[at])
        at += 1
        count += more
        if more != 255:
            return at, count
