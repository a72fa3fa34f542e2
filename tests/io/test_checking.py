"""The check of readers and sources: ours keep the contract, and what does not keep it is told."""

import time

import fabio
import h5py
import numpy as np
import pytest

from hitfinder.contracts import BrokenContractError
from hitfinder.errors import SourceError
from hitfinder.io import checking
from hitfinder.io.checking import check_reader, check_source, check_stream
from hitfinder.io.composite import CompositeSource
from hitfinder.io.formats import (
    CbfReader,
    Hdf5Reader,
    ImageReader,
    ListReader,
    NpyReader,
)
from hitfinder.io.memory import ArraySource
from hitfinder.io.readers import READERS, GuardedSource
from hitfinder.io.source import FrameRef, FrameSource, Metadata
from waiting import LONGEST_S

SHAPE = (20, 24)
FRAMES = np.random.default_rng(0).poisson(1.0, (4, *SHAPE)).astype(np.uint16)


@pytest.fixture
def npy(tmp_path):
    np.save(tmp_path / "x.npy", FRAMES)
    return tmp_path / "x.npy"


@pytest.fixture
def stack(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/data/data"] = FRAMES
        file["entry/instrument/detector/x_pixel_size"] = 75e-6
    return tmp_path / "x.h5"


def test_our_readers_keep_the_contract(tmp_path, npy, stack):
    check_reader(NpyReader, npy)
    check_reader(Hdf5Reader, stack, all_hdf5=True)
    image = fabio.cbfimage.CbfImage(data=FRAMES[0].astype(np.int32))
    image.write(str(tmp_path / "x.cbf"))
    check_reader(CbfReader, tmp_path / "x.cbf")
    for kind, ending in (
        (fabio.adscimage.AdscImage, "img"),
        (fabio.edfimage.EdfImage, "edf"),
        (fabio.tifimage.TifImage, "tif"),
    ):
        kind(data=FRAMES[0]).write(str(tmp_path / f"x.{ending}"))
        check_reader(ImageReader, tmp_path / f"x.{ending}")
    (tmp_path / "x.lst").write_text(f"{npy} //2\n{stack} //0\n{npy} //0\n")
    check_reader(ListReader, tmp_path / "x.lst")


def test_sources_made_of_others_keep_the_contract():
    check_source(ArraySource(FRAMES))
    check_source(ArraySource(FRAMES[0]))
    found = READERS.find("npy")
    check_source(GuardedSource(ArraySource(FRAMES.astype(float)), found, "x.npy"))
    order = np.array([(0, 1), (1, 0), (0, 0)])
    pair = [ArraySource(FRAMES[:2], "a"), ArraySource(FRAMES[2:].astype("u4"), "b")]
    check_source(CompositeSource(pair))
    check_source(CompositeSource(pair[:1], order[[0, 2]]))


class Sound(FrameSource):
    """Frames of an own format: a shape and counts, as text."""

    def __init__(self, file):
        self._file = file
        try:
            lines = open(file).read().split("\n")  # noqa: SIM115
            if lines[0] != "counts" or lines[-1] != "end":
                raise ValueError("cut short")
            self._counts = np.array([line.split() for line in lines[1:-1]], np.uint16)
        except (OSError, ValueError) as error:
            raise SourceError("unreadable", str(error), file) from error
        self.shape, self.dtype = self._counts.shape, np.dtype(np.uint16)

    def __len__(self):
        return 2

    def read(self, index, out=None):
        self.check(index)
        frame = self.buffer(out)
        frame[...] = self._counts + index
        return frame

    def ref(self, index):
        return FrameRef(self._file, f"//{index}")


class TextReader:
    suffixes = (".counts",)
    source = Sound

    def guess_can_open(self, file):
        return file.endswith(".counts")

    def open(self, file, opening):
        return self.source(file)


@pytest.fixture
def text(tmp_path):
    lines = [" ".join(map(str, row)) for row in FRAMES[0, :4, :5]]
    (tmp_path / "x.counts").write_text("\n".join(["counts", *lines, "end"]))
    return tmp_path / "x.counts"


def reader(source=Sound, **changes):
    return type("Changed", (TextReader,), {"source": source, **changes})


def source(**changes):
    """Make a reader of sources that are changed; pickle finds their class by its name."""
    name = f"Changed{len(globals())}"
    cls = globals()[name] = type(name, (Sound,), {**changes, "__module__": __name__})
    return reader(cls)


def fails(self, *given):
    raise KeyError("no")


def same_buffer(self, index, out=None):
    frame = Sound.read(self, index, out)
    if out is not None:
        return frame
    self._counts[...] = frame
    return self._counts


class Unpicklable(Sound):
    def __init__(self, file):
        super().__init__(file)
        self._open = open(file)  # noqa: SIM115


class CannotGoOn(Sound):
    closed = False

    def close(self):
        self.closed = True

    def read(self, index, out=None):
        if self.closed:
            raise ValueError("closed")
        return super().read(index, out)


class Fragile(Sound):
    def __init__(self, file):
        open(file).read().split("\n")[1]  # noqa: SIM115
        super().__init__(file)


def test_a_sound_reader_passes(text):
    check_reader(TextReader, text)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (object, "a reader has suffixes, guess_can_open and open"),
        (reader(suffixes=("COUNTS",)), "endings in lower case"),
        (reader(guess_can_open=lambda self, file: False), "it must say that it can open"),
        (reader(guess_can_open=lambda self, file: True), r"it claims text\.txt"),
        (
            reader(guess_can_open=lambda self, file: open(file).read(6) == "counts"),  # noqa: SIM115
            r"asking whether it can open a stranger \(noise.bin\) raises UnicodeDecodeError",
        ),
        (reader(open=lambda self, file, opening: FRAMES), "open gives a FrameSource"),
        (reader(open=fails), "opening its file raises KeyError"),
        (reader(Fragile), "a file cut short to 0% raises IndexError"),
        (reader(Unpicklable), "pickling a source before it is read raises TypeError"),
        (reader(CannotGoOn), "reading after close raises ValueError"),
        (source(shape=property(lambda self: (20, 24, 1), fails)), "opening its file raises KeyErr"),
        (source(__len__=lambda self: 0), "a source has at least one frame"),
        (source(ref=lambda self, index: FrameRef(self._file)), "each frame must have a FrameRef"),
        (source(ref=lambda self, index: FrameRef("x", f"//{index}")), "as it was named"),
        (source(index_of=lambda self, event: 0), "event '//1' is frame 1, index_of says 0"),
        (source(index_of=fails), "finding the frame of event '//0' raises KeyError"),
        (source(check=lambda self, index: None), "reading frame 2 must raise IndexError"),
        (source(buffer=lambda self, out: np.empty(self.shape, "u2")), "must return the buffer"),
        (source(buffer=lambda self, out: out if out is not None else np.empty(self.shape)), "u2|u"),
        (source(read=same_buffer), "must stay as it is when another is read|must be the same in"),
        (source(read=fails), "reading frame 0 raises KeyError"),
        (source(metadata=Metadata(photon_energy_ev=-1.0)), "photon_energy_ev must be None or a po"),
        (source(metadata=Metadata(mask=np.zeros((1, 1), bool))), "mask must be None or of bool"),
        (source(metadata="none"), "asking for what the file says raises TypeError"),
        (source(frame_metadata=lambda self, index: None), "metadata must be of type Metadata"),
    ],
)
def test_broken_readers_are_told(text, broken, message):
    with pytest.raises(BrokenContractError, match=message):
        check_reader(broken, text)


def test_a_reader_of_some_hdf5_files_leaves_others_alone(stack):
    class Greedy(Hdf5Reader):
        suffixes = (".h5",)

    with pytest.raises(BrokenContractError, match=r"it claims other\.hdf5data"):
        check_reader(Greedy, stack)


class Arriving:
    """A stream of six frames, with pauses."""

    shape, dtype = SHAPE, np.dtype(np.uint16)

    def __iter__(self):
        for number in range(6):
            yield None
            yield np.full(SHAPE, number, np.uint16)

    def ref(self, index):
        return FrameRef("series 7", f"//{index}")


def stream(**changes):
    return type("ChangedStream", (Arriving,), changes)()


def one_array(self):
    frame = np.zeros(SHAPE, np.uint16)
    for number in range(6):
        frame[:] = number
        yield frame


def slow(self):
    time.sleep(0.2)
    yield np.zeros(SHAPE, np.uint16)


@pytest.fixture
def no_hurry(monkeypatch):
    """What asks may be kept waiting, as it is where the machine is busy."""
    monkeypatch.setattr(checking, "LONGEST_WAIT_S", LONGEST_S)


def test_a_stream_that_keeps_what_asks_waiting_is_told(monkeypatch):
    monkeypatch.setattr(checking, "LONGEST_WAIT_S", 0.1)
    with pytest.raises(BrokenContractError, match="what asks must not wait"):
        check_stream(stream(__iter__=slow))


@pytest.mark.usefixtures("no_hurry")
def test_streams_keep_the_contract():
    check_stream(Arriving())
    # A source is a stream too, whose frames can be had again besides.
    check_stream(ArraySource(FRAMES), 4)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (stream(__iter__=lambda self: iter([None] * 9)), "5 frames must come, 0 came"),
        (stream(__iter__=one_array), "each frame must be an array of its own"),
        (stream(dtype=np.dtype(np.uint32)), "the stream says"),
        (stream(__iter__=fails), "taking frames from the stream raises"),
        (stream(ref=lambda self, index: FrameRef("series 7")), "each frame must have a FrameRef"),
    ],
)
@pytest.mark.usefixtures("no_hurry")
def test_broken_streams_are_told(broken, message):
    with pytest.raises(BrokenContractError, match=message):
        check_stream(broken)
