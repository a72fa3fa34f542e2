import dataclasses
from typing import Literal

import numpy as np
import pytest

from hitfinder import config
from hitfinder.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Finder:
    false_hits: float = 0.01
    min_peaks: int = 0
    hit_threshold: float | None = None
    mode: Literal["fast", "full"] = "full"

    def __post_init__(self):
        if not 0 < self.false_hits < 1:
            raise ValueError(f"false_hits must be between 0 and 1, got {self.false_hits}")


@dataclasses.dataclass(frozen=True)
class Job:
    finder: Finder = dataclasses.field(default_factory=Finder)
    csv: bool = False
    detector: str | None = None
    beam_center: tuple[float, float] | None = None
    tags: tuple[str, ...] = ()


def load(tmp_path, text):
    path = tmp_path / "job.toml"
    path.write_text(text)
    return config.load(path, Job)


def test_values_reach_nested_fields_and_the_rest_keeps_defaults(tmp_path):
    job = load(
        tmp_path,
        'csv = true\nbeam_center = [10, 20.5]\ntags = ["a", "b", "c"]\n'
        "[finder]\nhit_threshold = 3\n",
    )
    assert job == Job(
        Finder(hit_threshold=3.0), csv=True, beam_center=(10.0, 20.5), tags=("a", "b", "c")
    )
    assert type(job.finder.hit_threshold) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[finder]\nflase_hits = 0.1", r"job\.toml: unknown setting 'finder.flase_hits'. Did you"),
        ("zzz = 1", "unknown setting 'zzz'. Known here: beam_center, csv"),
        ("csv = 1", "'csv' must be true or false, got 1"),
        ("[finder]\nmin_peaks = true", "'finder.min_peaks' must be a whole number, got True"),
        ("[finder]\nmin_peaks = 1.5", "'finder.min_peaks' must be a whole number, got 1.5"),
        ('[finder]\nfalse_hits = "a"', "'finder.false_hits' must be a finite number, got 'a'"),
        ("[finder]\nfalse_hits = nan", "'finder.false_hits' must be a finite number, got nan"),
        ("[finder]\nfalse_hits = 2", r"\[finder\]: false_hits must be between 0 and 1, got 2"),
        ('[finder]\nmode = "slow"', "'finder.mode' must be one of 'fast', 'full', got 'slow'"),
        ("finder = 3", "'finder' must be a table, got 3"),
        ("beam_center = [1, 2, 3]", "'beam_center' must be a list of 2 values"),
        ("beam_center = 1", "'beam_center' must be a list of 2 values"),
        ("csv = ", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        config.load(tmp_path / "nowhere.toml", Job)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml: not valid TOML"):
        config.load(tmp_path / "binary.toml", Job)


def test_override_keeps_what_is_not_given():
    finder = config.override(Finder(min_peaks=3), false_hits=None, hit_threshold=1.0)
    assert finder == Finder(min_peaks=3, hit_threshold=1.0)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        config.override(finder, false_hits=5.0)


def test_flatten_names_every_setting():
    assert config.flatten(Job(beam_center=(1.0, 2.0))) == {
        "finder.false_hits": 0.01,
        "finder.min_peaks": 0,
        "finder.hit_threshold": None,
        "finder.mode": "full",
        "csv": False,
        "detector": None,
        "beam_center": [1.0, 2.0],
        "tags": [],
    }


@dataclasses.dataclass(frozen=True)
class Edge:
    """Written as one string, such as ``2 x 3``."""

    rows: int
    columns: int

    @classmethod
    def from_setting(cls, given):
        rows, cross, columns = str(given).partition(" x ")
        if not cross:
            raise ValueError(f"{given!r} is no ROWS x COLUMNS")
        return cls(int(rows), int(columns))

    def to_setting(self):
        return f"{self.rows} x {self.columns}"


@dataclasses.dataclass(frozen=True)
class Picture:
    name: str
    edge: Edge = Edge(1, 1)
    job: Job | None = None


def test_what_is_needed_and_left_out_is_named(tmp_path):
    (tmp_path / "p.toml").write_text('edge = "2 x 3"')
    with pytest.raises(ConfigError, match=r"p\.toml: 'name' is missing"):
        config.load(tmp_path / "p.toml", Picture)


def test_a_setting_that_reads_itself(tmp_path):
    assert config.build(Picture, {"name": "a", "edge": "2 x 3"}, "x").edge == Edge(2, 3)
    with pytest.raises(ConfigError, match="x: 'edge': 5 is no ROWS x COLUMNS"):
        config.build(Picture, {"name": "a", "edge": 5}, "x")


def test_written_settings_are_read_back(tmp_path):
    job = Job(Finder(false_hits=1e-5), csv=True, beam_center=(10.0, 0.1), tags=('a "b"\\\n', "µ"))
    picture = Picture("one", Edge(4, 5), job)
    text = config.to_toml(picture)
    assert text.startswith('name = "one"\nedge = "4 x 5"\n\n[job]\ncsv = true\n')
    (tmp_path / "p.toml").write_text(text)
    assert config.load(tmp_path / "p.toml", Picture) == picture


@pytest.mark.parametrize("text", ["csv = " + "9" * 5000, "csv = " + "[" * 5000])
def test_toml_that_python_cannot_take_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path, text)


def test_a_number_beyond_floats_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be a finite number, got 100"):
        load(tmp_path, "[finder]\nfalse_hits = 1" + "0" * 400)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tag": ("a",)}, "unknown setting 'tag'. Did you mean 'tags'"),
        ({"csv": "yes"}, "'csv' must be true or false, got 'yes'"),
        ({"beam_center": (1, "x")}, "'beam_center' must be a finite number, got 'x'"),
    ],
)
def test_override_refuses_what_a_file_may_not_hold(given, message):
    with pytest.raises(ConfigError, match=message):
        config.override(Job(), **given)


def test_override_takes_paths_and_numpy_numbers(tmp_path):
    job = config.override(Job(), detector=tmp_path / "x", beam_center=np.array([1, 2.5]))
    assert job == Job(detector=str(tmp_path / "x"), beam_center=(1.0, 2.5))
    finder = config.override(Finder(), min_peaks=np.int64(3), false_hits=np.float32(0.5))
    assert finder == Finder(0.5, 3)
    assert type(finder.min_peaks) is int
