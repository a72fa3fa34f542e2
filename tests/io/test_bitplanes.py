"""The pixels of packed frames that hold photons: those that are found in the unpacked frame."""

import h5py
import hdf5plugin
import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.io.bitplanes import PER_WORD, TOO_MANY, lit_from_planes, wanted_bits
from hitfinder.io.shuffled import ShuffledFrame
from hitfinder.io.unpack import unpack


def packed(values, n_together=0):
    """Pack values by HDF5's filter, another program than ours."""
    filters = hdf5plugin.Bitshuffle(cname="lz4", nelems=n_together)
    with h5py.File("packed", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("data", data=values, chunks=values.shape, **filters)
        mask, chunk = data.id.read_direct_chunk((0,) * values.ndim)
    assert not mask
    return chunk


def frame_of(dtype, size, seed=0, share=0.01):
    """A few photons, counts with any bits, and a gap in which all bits are set."""
    rng = np.random.default_rng(seed)
    values = (rng.random(size) < share).astype(dtype)
    lit = rng.random(size) < share / 2
    values[lit] = rng.integers(0, np.iinfo(dtype).max, lit.sum(), dtype, endpoint=True)
    values[size // 3 : size // 3 + size // 20] = np.array(-1).astype(dtype)
    values[-1:] = 3
    return values


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "i4", "u8"])
@pytest.mark.parametrize("n_together", [0, 64, 192])
def test_the_pixels_are_those_of_the_unpacked_frame(dtype, n_together):
    for seed, size in enumerate((63, 64, 4096, 4099, 8192, 20_011, 70_000)):
        values = frame_of(dtype, size, seed)
        wanted = np.random.default_rng(seed).random(size) < 0.9
        at, counts = np.empty(size + PER_WORD, np.int32), np.empty(size + PER_WORD, dtype)
        content = packed(values, n_together)
        n = lit_from_planes(content, np.empty_like(values), wanted_bits(wanted), at, counts)
        where = np.flatnonzero((values != 0) & wanted)
        assert np.array_equal(at[:n], where), size
        assert np.array_equal(counts[:n], values[where]), size


def test_more_pixels_than_there_is_room_for_are_not_listed():
    values = np.zeros(5003, np.uint16)
    values[10:300:3] = 1
    n_lit, every = int(values.sum()), wanted_bits(np.ones(values.size, bool))
    for room, listed in ((n_lit + PER_WORD, n_lit), (n_lit // 2, TOO_MANY), (0, TOO_MANY)):
        at, counts = np.empty(room, np.int32), np.empty(room, np.uint16)
        assert lit_from_planes(packed(values), values, every, at, counts) == listed
    values[:] = 0
    values[-2:] = 1  # of the last three, which are stored as they are
    at, counts = np.empty(1, np.int32), np.empty(1, np.uint16)
    assert lit_from_planes(packed(values), values, every, at, counts) == TOO_MANY


def test_blocks_that_do_not_end_with_a_word_are_left_to_unpacking():
    values = frame_of("u2", 3000)
    at, counts = np.empty(3064, np.int32), np.empty(3064, np.uint16)
    every = wanted_bits(np.ones(3000, bool))
    assert lit_from_planes(packed(values, 72), values, every, at, counts) == TOO_MANY


def test_damage_is_told_as_it_is_by_unpacking():
    rng = np.random.default_rng(2)
    values = frame_of("u2", 9003)
    good, out = np.frombuffer(packed(values), np.uint8), np.empty_like(values)
    at, counts = np.empty(9067, np.int32), np.empty(9067, np.uint16)
    every = wanted_bits(np.ones(values.size, bool))
    n_damaged = 0
    for trial in range(2000):
        bad = good.copy()
        places = rng.integers(12, bad.size, rng.integers(1, 4))
        bad[places] = rng.choice([0, 1, 15, 16, 240, 255, rng.integers(256)], places.size)
        content = bad[: rng.integers(0, bad.size) if trial % 4 == 0 else None].tobytes()
        try:
            unpack(content, "bslz4", out)
        except ValueError as error:
            n_damaged += 1
            with pytest.raises(ValueError, match=str(error)):
                lit_from_planes(content, values, every, at, counts)
            continue
        n = lit_from_planes(content, values, every, at, counts)
        assert np.array_equal(at[:n], np.flatnonzero(out))
    assert n_damaged > 500


def test_a_packed_frame_becomes_an_array():
    values = frame_of("u2", 6000).reshape(60, 100)
    content, room = packed(values), np.zeros_like(values)
    frame = ShuffledFrame(content, room, lambda what: SourceError("unreadable", what))
    assert (frame.shape, frame.dtype) == (values.shape, values.dtype)
    assert not room.any()
    assert np.array_equal(np.asarray(frame), values)
    assert np.asarray(frame) is room
    assert np.array_equal(np.array(frame, np.float32), values)
    for use in (
        np.asarray,
        lambda bad: bad.list_lit(*(np.empty(0, k) for k in ("u8", "i4", "u2"))),
    ):
        cut = ShuffledFrame(content[:-9], room, lambda what: SourceError("unreadable", what))
        with pytest.raises(SourceError, match=r"the counts are damaged \(.*cut short\)") as told:
            use(cut)
        assert told.value.status == "unreadable"
