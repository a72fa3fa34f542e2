"""Which reader opens a file, and what becomes of one of another package that fails."""

import logging
import pickle
import sys

import numpy as np
import pytest

from hitfinder.errors import ConfigError, SourceError
from hitfinder.io.memory import ArraySource
from hitfinder.io.open import open_source
from hitfinder.io.readers import READERS, reader_named, readers
from hitfinder.io.source import FrameRef

FRAMES = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)


class RawSource(ArraySource):
    """Counts without a header, of frames of 4 x 5 pixels."""

    def __init__(self, file):
        self._file = file
        super().__init__(np.fromfile(file, np.uint16).reshape(-1, 4, 5), file)

    def __reduce__(self):
        return type(self), (self._file,)


class Raw:
    suffixes = (".raw",)
    source = RawSource

    def guess_can_open(self, file):
        return file.endswith(".raw")

    def open(self, file, opening):
        return self.source(file)


class Npy(Raw):
    """Takes NumPy files from our own reader."""

    suffixes = ()

    def guess_can_open(self, file):
        return file.endswith(".npy")

    def open(self, file, opening):
        return ArraySource(np.load(file) + 100, file)


class Unsure(Raw):
    def guess_can_open(self, file):
        raise KeyError("what is this")


class Failing(Raw):
    def open(self, file, opening):
        raise ZeroDivisionError("no")


class NoSource(Raw):
    def open(self, file, opening):
        return FRAMES


class FailsLater(Raw):
    class source(RawSource):  # noqa: N801
        def read(self, index, out=None):
            if index == 1:
                raise ZeroDivisionError("no")
            return super().read(index, out)


class OwnBuffer(Raw):
    class source(RawSource):  # noqa: N801
        def read(self, index, out=None):
            return super().read(index)


class NoReader:
    pass


class Unbuilt(Raw):
    def __init__(self, what):
        pass


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Have a package register readers of this module."""
    monkeypatch.setitem(sys.modules, "readers_of_others", sys.modules[__name__])
    site = tmp_path / "site"

    def make(**classes):
        info = site / "beamline-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: beamline\nVersion: 1.2\n")
        lines = [f"{name} = readers_of_others:{cls}" for name, cls in classes.items()]
        (info / "entry_points.txt").write_text("\n".join(["[hitfinder.readers]", *lines]) + "\n")
        monkeypatch.syspath_prepend(str(site))

    return make


@pytest.fixture
def raw(tmp_path):
    FRAMES.tofile(tmp_path / "x.raw")
    return tmp_path / "x.raw"


def test_ours_are_there():
    assert list(readers())[:4] == ["lst", "cbf", "npy", "hdf5"]
    assert all(reader_named(name) for name in READERS.built_in)


def test_a_reader_of_others_is_asked(install, raw, tmp_path):
    assert "no reader knows this kind of file" in str(open_source(raw).problems[0])
    install(raw="Raw")
    source = open_source(raw)
    assert (source.reader, len(source)) == ("raw", 3)
    np.testing.assert_array_equal(source.read(2), FRAMES[2])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(1), FRAMES[1])
    # A folder is searched for its files too, and a list may name them.
    np.save(tmp_path / "y.npy", FRAMES)
    both = open_source(tmp_path)
    assert (both.reader, len(both)) == ("raw, npy", 6)
    (tmp_path / "z.lst").write_text(f"{raw} //1\n{tmp_path / 'y.npy'} //0\n")
    listed = open_source(tmp_path / "z.lst")
    assert (listed.reader, listed.ref(0)) == ("lst", FrameRef(str(raw), "//1"))


def test_readers_of_others_come_before_ours(install, tmp_path):
    np.save(tmp_path / "y.npy", FRAMES)
    install(mine="Npy")
    assert open_source(tmp_path / "y.npy").read(0)[0, 0] == 100
    assert open_source(tmp_path / "y.npy", reader="npy").read(0)[0, 0] == 0


def test_a_reader_can_be_chosen(raw, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "readers_of_others", sys.modules[__name__])
    raw.rename(tmp_path / "x.dat")
    with pytest.raises(ConfigError, match="no reader is called 'row'"):
        open_source(tmp_path / "x.dat", reader="row")
    source = open_source(tmp_path / "x.dat", reader="readers_of_others:Raw")
    np.testing.assert_array_equal(source.read(1), FRAMES[1])
    # Also for the files that a list names, but not for the list.
    (tmp_path / "x.lst").write_text(f"{tmp_path / 'x.dat'} //2\n")
    source = open_source(tmp_path / "x.lst", reader="readers_of_others:Raw")
    np.testing.assert_array_equal(source.read(0), FRAMES[2])


def test_a_broken_reader_does_not_keep_others_from_their_files(install, raw, tmp_path, caplog):
    install(a="Unbuilt", b="NoReader", c="Unsure", d="Raw", e="Gone")
    with caplog.at_level(logging.WARNING):
        assert open_source(raw).reader == "d"
        open_source(raw)
    for text in ("'a' cannot be built", "'b' is no reader", "'e' of beamline 1.2 cannot be imp"):
        assert caplog.text.count(text) == 1, "once is enough"
    assert "reader 'c' of beamline 1.2 cannot tell whether it can open" in caplog.text


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        ("Failing", r"reader 'raw' of beamline 1.2 fails \(ZeroDivisionError: no\)"),
        ("NoSource", "gave ndarray, which is no FrameSource"),
    ],
)
def test_a_file_that_a_reader_fails_to_open_is_unreadable(install, raw, cls, message):
    install(raw=cls)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(raw).read(0)
    assert caught.value.status == "unreadable"


def test_a_frame_that_a_reader_fails_to_read_is_unreadable(install, raw):
    install(raw="FailsLater")
    source = open_source(raw)
    np.testing.assert_array_equal(source.read(0), FRAMES[0])
    with pytest.raises(SourceError, match=r"fails .ZeroDivisionError"):
        source.read(1)
    with pytest.raises(IndexError):
        source.read(9)


def test_a_reader_must_use_the_buffer_it_is_given(install, raw):
    install(raw="OwnBuffer")
    with pytest.raises(SourceError, match="does not read into the buffer"):
        open_source(raw).read(0)


def test_what_is_no_file_of_frames_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").touch()
    (tmp_path / "d.geom").write_text("clen = 0.1")
    (tmp_path / "c.lst").write_text(f"{tmp_path}\n")
    for name, message in (
        ("a.txt", "no reader knows this kind of file. 'hitfinder plugins' lists"),
        ("b.txt", "the file is empty"),
        ("c.lst", "is a folder"),
        ("d.geom", "give it as --geometry"),
    ):
        assert message in str(open_source(tmp_path / name).problems[0])


def test_files_are_known_by_how_they_begin(tmp_path):
    with open(tmp_path / "frames", "wb") as file:
        np.save(file, FRAMES)
    assert open_source(tmp_path / "frames").reader == "npy"
