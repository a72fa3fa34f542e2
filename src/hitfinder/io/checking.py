"""The check that a reader keeps its contract, for ours and for those of others."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.contracts import BrokenContractError, require, requires
from hitfinder.errors import SourceError
from hitfinder.io.composite import CompositeSource, FailedSource
from hitfinder.io.readers import Opening, Reader, open_file
from hitfinder.io.source import FrameRef, FrameSource, Metadata
from hitfinder.io.stream import FrameStream

MOST_FRAMES = 5
"""Frames of a file that are looked at."""

LONGEST_WAIT_S, PATIENCE_S = 1.0, 30.0
"""How long a stream may keep what asks it for a frame waiting, and how long all frames may take."""


def check_reader(build: Callable[[], Reader], path: str | Path, *, all_hdf5: bool = False) -> None:
    """Check that a reader opens its files as hitfinder expects, and leaves others alone.

    Parameters
    ----------
    build : callable
        The reader's class.
    path : path-like
        A sound file of its format, with at least one readable frame.
    all_hdf5 : bool
        Whether it is a reader of any HDF5 file; one of a special kind must leave others alone.

    Raises
    ------
    hitfinder.contracts.BrokenContractError
        If it does not keep `hitfinder.io.readers.Reader`, or what it opens is not a source as
        `hitfinder.io.source.FrameSource` says, saying how.
    """
    file = str(path)
    with requires("making the reader"):
        reader = build()
    lacks = "a reader has suffixes, guess_can_open and open"
    require(isinstance(reader, Reader), lacks)
    endings = isinstance(reader.suffixes, tuple) and all(
        isinstance(s, str) and s.startswith(".") and s == s.lower() for s in reader.suffixes
    )
    require(endings, f"suffixes must be a tuple of endings in lower case, got {reader.suffixes!r}")
    with requires("asking whether it can open its file"):
        require(reader.guess_can_open(file) is True, f"it must say that it can open {file}")
    with requires("opening its file"):
        source = reader.open(file, _opening())
    require(isinstance(source, FrameSource), f"open gives a FrameSource, got {type(source)}")
    check_source(source, lambda: reader.open(file, _opening()))
    if not isinstance(source, CompositeSource):
        as_named = source.ref(0).file == file
        require(as_named, f"the file of a frame must be {file!r}, as it was named")
    with tempfile.TemporaryDirectory() as folder:
        _check_strangers(reader, Path(folder), all_hdf5)
        _check_damage(reader, file, Path(folder))


def _opening() -> Opening:
    def other(file: str) -> FrameSource:
        try:
            return open_file(file, Opening(None, None, other))
        except SourceError as error:
            return FailedSource(FrameRef(file), error)

    return Opening(None, None, other)


def check_source(source: FrameSource, again: Callable[[], FrameSource] | None = None) -> None:
    """Check that frames are read as `hitfinder.io.source.FrameSource` says.

    Parameters
    ----------
    source : FrameSource
        A source that was not read from yet, with at least one readable frame.
    again : callable, optional
        Opens the same frames once more.

    Raises
    ------
    hitfinder.contracts.BrokenContractError
        If not, saying how.
    """
    with requires("pickling a source before it is read"):
        copy = pickle.loads(pickle.dumps(source))
    shape, dtype, n = source.shape, source.dtype, len(source)
    two = isinstance(shape, tuple) and len(shape) == 2 and all(s > 0 for s in shape)
    require(two, f"shape must be rows and columns, got {shape!r}")
    require(
        isinstance(dtype, np.dtype) and dtype.kind in "iuf" and dtype.isnative,
        f"dtype must be one of numbers in the byte order of the machine, got {dtype!r}",
    )
    require(n >= 1, "a source has at least one frame")
    indices = sorted({*range(min(n, MOST_FRAMES)), n - 1})
    frames = {i: frame for i in indices if (frame := _read(source, i)) is not None}
    require(frames, "no frame can be read")
    _check_reading(source, frames)
    _check_names(source, indices)
    _check_metadata(source)
    for other, what in ((copy, "a pickled source"), (again and again(), "a source opened again")):
        if other is not None:
            with requires(f"reading from {what}"), other:
                alike = all(_equal(other.read(i), frame) for i, frame in frames.items())
            require(alike, f"{what} must give the same frames")
    source.close()
    with requires("reading after close"):
        first = next(iter(frames))
        require(_equal(source.read(first), frames[first]), "reading opens again what was closed")
    source.close()


def check_stream(stream: FrameStream, n_frames: int = MOST_FRAMES) -> None:
    """Check that frames come as `hitfinder.io.stream.FrameStream` says.

    Parameters
    ----------
    stream : FrameStream
        A stream that gives at least so many frames, now or within `PATIENCE_S`.
    n_frames : int
        Frames to take.

    Raises
    ------
    hitfinder.contracts.BrokenContractError
        If not, saying how.
    """
    frames: list[NDArray] = []
    copies: list[NDArray] = []
    with requires("taking frames from the stream"):
        began = asked = time.monotonic()
        for frame in stream:
            now = time.monotonic()
            waited = now - asked
            require(waited < LONGEST_WAIT_S, f"what asks must not wait; it did {waited:.1f} s")
            require(now - began < PATIENCE_S, f"{n_frames} frames must come, {len(frames)} came")
            if frame is not None:
                is_, must = (frame.shape, frame.dtype), (stream.shape, stream.dtype)
                require(is_ == must, f"frame {len(frames)} is {is_}, the stream says {must}")
                frames.append(frame)
                copies.append(frame.copy())
            if len(frames) == n_frames:
                break
            asked = time.monotonic()
    require(len(frames) == n_frames, f"{n_frames} frames must come, {len(frames)} came")
    kept = all(map(_equal, frames, copies))
    require(kept, "each frame must be an array of its own, which the next one leaves as it is")
    refs = [stream.ref(index) for index in range(n_frames)]
    named = all(isinstance(ref, FrameRef) for ref in refs) and len({*refs}) == n_frames
    require(named, "each frame must have a FrameRef")


def _read(source: FrameSource, index: int) -> NDArray | None:
    with requires(f"reading frame {index}", SourceError), contextlib.suppress(SourceError):
        return source.read(index)
    return None


def _equal(one: NDArray, other: NDArray) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _check_reading(source: FrameSource, frames: dict[int, NDArray]) -> None:
    for index, frame in frames.items():
        is_, must = (frame.shape, frame.dtype), (source.shape, source.dtype)
        require(is_ == must, f"frame {index} is {is_}, the source says {must}")
    kept = {index: frame.copy() for index, frame in frames.items()}
    buffer = np.full(source.shape, 1, source.dtype)
    for index, frame in kept.items():
        with requires(f"reading frame {index} into a buffer"):
            got = source.read(index, buffer)
        require(got is buffer, "read must return the buffer that it is given")
        require(_equal(buffer, frame), f"frame {index} must be the same in a buffer")
        require(
            all(_equal(frames[i], kept[i]) for i in kept),
            "a frame that was read must stay as it is when another is read",
        )
    for wrong in (np.empty((1, 1), source.dtype), np.empty(source.shape, "c8")):
        with _expected(ValueError, "a buffer of another shape or type must raise ValueError"):
            source.read(next(iter(frames)), wrong)
    for beyond in (len(source), -1):
        with _expected(IndexError, f"reading frame {beyond} must raise IndexError"):
            source.read(beyond)


def _check_names(source: FrameSource, indices: list[int]) -> None:
    refs = {index: source.ref(index) for index in indices}
    named = all(isinstance(ref, FrameRef) for ref in refs.values())
    require(named and len(set(refs.values())) == len(refs), "each frame must have a FrameRef")
    # Among frames of several files an event may name several.
    of_one_file = len({ref.file for ref in refs.values()}) == 1
    for index, ref in refs.items() if of_one_file else ():
        with requires(f"finding the frame of event {ref.event!r}"):
            found = source.index_of(ref.event)
        require(found == index, f"event {ref.event!r} is frame {index}, index_of says {found}")
    with _expected(SourceError, "an event that is not there must raise SourceError"):
        source.index_of("//no-such-event")


def _check_metadata(source: FrameSource) -> None:
    with requires("asking for what the file says", SourceError):
        said = (source.metadata, source.frame_metadata(0))
        mask = source.mask_of(0)
    require(all(isinstance(m, Metadata) for m in said), "metadata must be of type Metadata")
    for name in ("photon_energy_ev", "camera_length_m", "pixel_size_m", "saturation"):
        value = getattr(said[0], name)
        good = value is None or (np.isfinite(value) and value > 0)
        require(good, f"{name} must be None or a positive number, got {value!r}")
    for what, found in (("mask", said[0].mask), ("mask_of", mask)):
        fits = found is None or (found.shape == source.shape and found.dtype == bool)
        require(fits, f"{what} must be None or of bool, shaped as a frame")
    require(said[1].mask is None, "frame_metadata must have no mask; mask_of tells it")


def _check_strangers(reader: Reader, folder: Path, all_hdf5: bool) -> None:
    """Check that it does not claim files of other formats, and answers whatever it is shown."""
    for path in _strangers(folder):
        with requires(f"asking whether it can open a stranger ({path.name})"):
            claimed = reader.guess_can_open(str(path))
        own = path.name.endswith(reader.suffixes) or (all_hdf5 and path.suffix == ".hdf5data")
        require(
            own or not claimed,
            f"it claims {path.name}, which is no file of its format, and keeps it from others",
        )


def _strangers(folder: Path) -> list[Path]:
    """Make files that no format of frames has, and name one that is not there."""
    names = ("text.txt", "empty.dat", "noise.bin", "folder.d", "absent.dat", "other.hdf5data")
    text, empty, noise, inner, absent, hdf5 = (folder / name for name in names)
    text.write_text("a,b\n1,2\n")
    empty.touch()
    noise.write_bytes(np.random.default_rng(0).bytes(4096))
    inner.mkdir()
    with h5py.File(hdf5, "w") as h5file:
        h5file["note"] = 1
    return [text, empty, noise, inner, absent, hdf5]


def _check_damage(reader: Reader, file: str, folder: Path) -> None:
    """Check that a damaged file fails by SourceError alone."""
    whole = Path(file).read_bytes()
    path = folder / Path(file).name
    for share in (0.0, 0.3, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with requires(f"a file cut short to {share:.0%}", SourceError):
            reader.guess_can_open(str(path))
            with contextlib.suppress(SourceError), reader.open(str(path), _opening()) as source:
                for index in range(min(len(source), MOST_FRAMES)):
                    _read(source, index)
    path.unlink()
    with _expected(SourceError, "opening a file that is not there must raise SourceError"):
        reader.open(str(path), _opening())


@contextlib.contextmanager
def _expected(kind: type[Exception], what: str) -> Iterator[None]:
    """Require that the block raises an exception of a kind."""
    try:
        yield
    except kind:
        return
    except Exception as error:
        raise BrokenContractError(f"{what}, not {type(error).__name__}: {error}") from error
    raise BrokenContractError(f"{what}, not nothing")
