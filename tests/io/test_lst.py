import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import OutputError, SourceError
from hitfinder.io.lst import parse_line, read_lst, write_lst
from hitfinder.io.open import open_source
from hitfinder.io.source import FrameRef

SHAPE = (4, 5)
STATUSES = {"missing-file", "missing-source", "truncated", "no-frames", "unreadable"}


def write_stack(path, value, n=3):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.arange(n * 20, dtype=np.uint16).reshape(n, *SHAPE) + value


def value_of(frame):
    return int(frame[0, 0])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.h5 //3\n", FrameRef("a.h5", "//3")),
        ("/data/my run/a.h5 //12", FrameRef("/data/my run/a.h5", "//12")),
        ("  a.cxi  group//2 \r\n", FrameRef("a.cxi", "group//2")),
        ("/data/my run/a.h5", FrameRef("/data/my run/a.h5")),
        ("a.h5", FrameRef("a.h5")),
        ("a.h5\t//3\n", FrameRef("a.h5", "//3")),
        ("//server/a.h5", FrameRef("//server/a.h5")),
    ],
)
def test_a_line_is_split_at_the_last_space_before_an_event(line, expected):
    assert parse_line(line) == expected


def test_a_byte_order_mark_is_no_part_of_the_first_path(tmp_path):
    (tmp_path / "x.lst").write_bytes(b"\xef\xbb\xbf/a.h5 //1\n")
    assert read_lst(tmp_path / "x.lst") == [FrameRef("/a.h5", "//1")]


def test_remarks_are_no_frames(tmp_path):
    write_stack(tmp_path / "#1.h5", 0)
    lines = f"# run 7\n;{tmp_path}/none.h5\n  # more\n{tmp_path}/#1.h5 //1\n#1.h5 //2\n"
    (tmp_path / "x.lst").write_text(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        found = read_lst(tmp_path / "x.lst")
    assert found == [FrameRef(f"{tmp_path}/#1.h5", "//1"), FrameRef("#1.h5", "//2")]


def test_what_is_written_is_read_back(tmp_path):
    refs = [FrameRef("/a b/c.h5", "//1"), FrameRef("/d.cbf"), FrameRef("/e.h5", "run//7")]
    write_lst(tmp_path / "x.lst", refs)
    assert (tmp_path / "x.lst").read_text() == "/a b/c.h5 //1\n/d.cbf\n/e.h5 run//7\n"
    assert read_lst(tmp_path / "x.lst") == refs
    with pytest.raises(ValueError, match="line break"):
        write_lst(tmp_path / "x.lst", [FrameRef("a\nb")])
    assert read_lst(tmp_path / "x.lst") == refs
    with pytest.raises(OutputError):
        write_lst(tmp_path / "no" / "x.lst", refs)


def test_frames_come_in_the_order_of_the_list(tmp_path):
    write_stack(tmp_path / "a.h5", 0)
    write_stack(tmp_path / "b.h5", 1000)
    lines = f"{tmp_path}/b.h5 //2\n{tmp_path}/a.h5 //0\n\n{tmp_path}/b.h5 //0\n{tmp_path}/a.h5\n"
    (tmp_path / "x.lst").write_text(lines)
    source = open_source(tmp_path / "x.lst")
    assert [value_of(frame) for frame in source] == [1040, 0, 1000, 0, 20, 40]
    assert source.ref(0) == FrameRef(f"{tmp_path}/b.h5", "//2")
    assert source.h5_location(0) == (f"{tmp_path}/b.h5", "/entry/data/data", 2)


def test_relative_paths_are_of_the_working_directory_else_of_the_list(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "work").mkdir()
    write_stack(tmp_path / "lists" / "a.h5", 100)
    write_stack(tmp_path / "lists" / "b.h5", 200)
    write_stack(tmp_path / "work" / "a.h5", 300)
    (tmp_path / "lists" / "x.lst").write_text("a.h5 //0\nb.h5 //0\n")
    monkeypatch.chdir(tmp_path / "work")
    source = open_source(tmp_path / "lists" / "x.lst")
    assert [value_of(frame) for frame in source] == [300, 200]


def test_each_line_that_cannot_be_had_fails_alone(tmp_path):
    write_stack(tmp_path / "a.h5", 0)
    (tmp_path / "text.h5").write_text("text")
    names = ["a.h5 //1", "gone.h5 //4", "a.h5 //3", "text.h5", "text.h5 //1", "a.h5 //2"]
    (tmp_path / "x.lst").write_text("\n".join(f"{tmp_path}/{name}" for name in names))
    source = open_source(tmp_path / "x.lst")
    found = []
    for index in range(len(source)):
        try:
            found.append(value_of(source[index]))
        except SourceError as error:
            found.append(error.status)
    assert found == [20, "missing-file", "no-frames", "unreadable", "unreadable", 40]
    assert [f"{source.ref(i).file} {source.ref(i).event}".strip() for i in range(6)] == [
        f"{tmp_path}/{name}" for name in names
    ]


@pytest.mark.parametrize(("content", "status"), [(None, "missing-file"), ("\n", "no-frames")])
def test_a_list_that_cannot_be_used_is_named(tmp_path, content, status):
    if content is not None:
        (tmp_path / "x.lst").write_text(content)
    with pytest.raises(SourceError) as caught:
        open_source(tmp_path / "x.lst").read(0)
    assert caught.value.status == status


def test_an_event_is_found_where_the_list_has_it(tmp_path):
    stack = tmp_path / "x.h5"
    write_stack(stack, 0, n=4)
    (tmp_path / "x.lst").write_text(f"{stack} //3\n{stack} //1\n")
    source = open_source(tmp_path / "x.lst")
    assert [source.index_of(event) for event in ("//3", "//1")] == [0, 1]
    with pytest.raises(SourceError, match="no frame '//2' among those named"):
        source.index_of("//2")


def test_lists_may_name_lists_but_not_themselves(tmp_path):
    stack = tmp_path / "x.h5"
    write_stack(stack, 0, n=2)
    (tmp_path / "inner.lst").write_text(f"{stack}\n")
    (tmp_path / "outer.lst").write_text(f"{tmp_path / 'inner.lst'}\n{stack} //1\n")
    source = open_source(tmp_path / "outer.lst")
    assert [int(source.read(i)[0, 0]) for i in range(len(source))] == [0, 20, 20]
    (tmp_path / "self.lst").write_text(f"{tmp_path / 'self.lst'}\n{stack} //1\n")
    source = open_source(tmp_path / "self.lst")
    assert "files name one another" in str(source.problems[0])
    assert value_of(source.read(len(source) - 1)) == 20


@pytest.mark.parametrize("name", ["x.lst", "x.LST", "x.list", "x.txt"])
def test_lists_are_known_by_their_names(tmp_path, name):
    write_stack(tmp_path / "a.h5", 10, n=12)
    (tmp_path / name).write_text("a.h5 //1\na.h5 //3\n")
    with open_source(tmp_path / name) as source:
        assert (len(source), source.n_readable) == (2, 2)
        assert [value_of(frame) for frame in source] == [30, 70]


def test_a_stack_is_no_list_whatever_its_name(tmp_path):
    write_stack(tmp_path / "a.txt", 10)
    assert len(open_source(tmp_path / "a.txt")) == 3


def test_only_frames_that_are_listed_are_counted(tmp_path):
    """The file has more frames than the list, of another shape than most of those listed."""
    write_stack(tmp_path / "a.h5", 10, n=12)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["entry/data/data"] = np.zeros((3, 6, 7), np.uint16)
    (tmp_path / "x.lst").write_text("b.h5\na.h5 //1\na.h5 //99\ngone.h5 //1\n")
    with open_source(tmp_path / "x.lst") as source:
        assert (len(source), source.n_readable, source.shape) == (6, 3, (6, 7))
        assert list(source.readable(np.arange(6))) == [True] * 3 + [False] * 3
        assert source.taken.sum() == 6


@pytest.mark.parametrize("event", ["//²", "//٣", "//" + 5000 * "9", "//-1", "//1e0", "//1_0", "//"])
def test_events_that_are_no_numbers_name_no_frame(tmp_path, event):
    write_stack(tmp_path / "a.h5", 10)
    (tmp_path / "x.lst").write_text(f"a.h5 {event}\na.h5 //1\n")
    with open_source(tmp_path / "x.lst") as source:
        assert source.n_readable == 1
        with pytest.raises(SourceError, match="there is no frame"):
            source.read(0)
        assert FrameRef("a.h5", event).index == 0


def test_a_file_of_zeros_is_no_list(tmp_path):
    (tmp_path / "x.lst").write_bytes(b"a.h5 //1\nb\0.h5\n")
    with pytest.raises(SourceError, match=r"x\.lst, line 2: this is no list of files"):
        read_lst(tmp_path / "x.lst")


@given(st.lists(st.binary(max_size=40), max_size=5), st.sampled_from([b"\n", b"\r\n", b" //"]))
@settings(max_examples=60)
def test_whatever_a_list_holds_it_is_a_source(tmp_path, lines, between):
    write_stack(tmp_path / "a.h5", 10)
    (tmp_path / "x.lst").write_bytes(between.join([b"a.h5 //1", *lines]))
    with open_source(tmp_path / "x.lst") as source:
        assert {problem.status for problem in source.problems} <= STATUSES
        for index in np.flatnonzero(source.readable(np.arange(len(source)))):
            assert source.read(int(index)).shape == SHAPE
