"""Dense frames that are packed are loaded as unpacked ones are."""

import h5py
import hdf5plugin
import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.finding.readings import FrameReader
from hitfinder.finding.rings import Rings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.shuffled import ShuffledFrame


def shuffled(frame, n_together=0, cut=0):
    """A frame as another program packs it, without its last `cut` bytes."""
    filters = hdf5plugin.Bitshuffle(cname="lz4", nelems=n_together)
    with h5py.File("packed", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("data", data=frame, chunks=frame.shape, **filters)
        content = data.id.read_direct_chunk((0, 0))[1]
    room = np.full_like(frame, 77)
    return ShuffledFrame(
        content[: len(content) - cut], room, lambda what: SourceError("unreadable", what)
    )


def reader_of(shape):
    mask = np.zeros(shape, bool)
    mask[:, shape[1] // 3 : shape[1] // 2] = True
    geometry = Geometry.flat(shape, 75e-6, camera_length_m=0.05, photon_energy_ev=6000, mask=mask)
    return FrameReader(Rings.of(geometry), geometry.detector)


def bright(dtype, shape):
    rng = np.random.default_rng(3)
    frame = rng.poisson(1.5, shape).astype(dtype)
    frame[::7, ::5] += np.arange(frame[::7, ::5].size).reshape(frame[::7, ::5].shape).astype(dtype)
    frame[5, 10:40] = np.array(-1).astype(dtype)
    return frame


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u4"])
@pytest.mark.parametrize("shape", [(301, 243), (99, 61), (50, 2069)])
def test_packed_frames_are_loaded_as_others(dtype, shape):
    """Blocks of more pixels than rows that are loaded at once, and of fewer; some are left over."""
    frame, reader, again = bright(dtype, shape), reader_of(shape), reader_of(shape)
    mask = np.zeros(shape, bool)
    mask[20:30] = True
    known = reader.read(frame, mask)
    for n_together in (0, 64, 1032):
        read = again.read(shuffled(frame, n_together), mask)
        assert np.array_equal(read.counts, known.counts)
        assert (read.photons, read.n_lit, read.lost) == (known.photons, known.n_lit, known.lost)
        for one, other in zip(read.squares, known.squares, strict=True):
            assert np.array_equal(one.total, other.total)
            assert np.array_equal(one.most, other.most)


@pytest.mark.parametrize("cut", [1, 40, 3000])
def test_what_is_missing_of_a_packed_frame_is_told(cut):
    """Of the values that are stored as they are, of the last block, and of one before it."""
    frame = bright("u2", (99, 61))
    with pytest.raises(SourceError, match="damaged"):
        reader_of(frame.shape).read(shuffled(frame, cut=cut), np.zeros(frame.shape, bool))
