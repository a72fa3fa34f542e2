import csv

import numpy as np
import pyarrow.parquet as pq
import pytest

from hitfinder.errors import OutputError
from hitfinder.export import tables
from hitfinder.io.source import FrameRef

FRAME_NAMES = [
    "file",
    "event",
    "status",
    "hit",
    "doubt",
    "score",
    "n_peaks",
    "peaks_left_out",
    "photons",
    "background_per_pixel",
    "resolution_a",
    *(CRYSTAL := ["hit_probability", "crystal_score", "joint_score", "joint_probability"]),
    *(ESTIMATES := ["photon_energy_ev", "photon_energy_sigma_ev"]),
    *(ENDS := ["photon_energy_low_ev", "photon_energy_high_ev"]),
    *(LENGTHS := ["camera_length_m", "camera_length_sigma_m"]),
    *(LENGTH_ENDS := ["camera_length_low_m", "camera_length_high_m"]),
    "geometry",
    "seconds",
]
PEAK_NAMES = ["frame", "fs", "ss", "photons", "background", "log_p", "n_pixels", "snr"]
PEAK_NAMES += ["resolution_a", "probability", "photons_sigma"]


def frames(n, start=0):
    rows = np.zeros(
        n,
        [
            ("status", "U16"),
            ("hit", "?"),
            ("doubt", "U16"),
            ("score", "f8"),
            ("n_peaks", "i4"),
            ("peaks_left_out", "?"),
            ("photons", "i8"),
            ("background_per_pixel", "f8"),
            ("resolution_a", "f4"),
            *((name, "f4") for name in (*CRYSTAL, *ESTIMATES, *ENDS, *LENGTHS, *LENGTH_ENDS)),
            ("geometry", "U16"),
            ("seconds", "f4"),
        ],
    )
    rows["status"], rows["photons"] = "ok", 2**40 + np.arange(start, start + n)
    refs = [FrameRef(f"a b_{i}.h5", f"//{i}") for i in range(start, start + n)]
    return tables.frame_columns(refs, rows)


def peaks(frame, fs):
    found = np.zeros(len(fs), [(name, "f8") for name in (*PEAK_NAMES[1:], "maximum")])
    found["fs"], found["ss"], found["n_pixels"] = fs, np.array(fs) + 0.25, 3
    return tables.peak_columns(np.full(len(fs), frame), found)


def test_columns_are_those_agreed_in_order(tmp_path):
    assert tables.frame_schema().names == FRAME_NAMES
    assert tables.peak_schema().names == PEAK_NAMES


def test_units_are_in_the_file(tmp_path):
    tables.write_table(tmp_path / "p.parquet", tables.peak_schema(), [peaks(0, [1.5])])
    schema = pq.read_schema(tmp_path / "p.parquet")
    assert schema.field("fs").metadata[b"unit"] == b"pixel"
    assert schema.field("resolution_a").metadata[b"unit"] == b"angstrom"


def test_batches_follow_one_another(tmp_path):
    path = tmp_path / "f.parquet"
    n = tables.write_table(path, tables.frame_schema(), [frames(3), frames(0), frames(2, 3)])
    table = pq.read_table(path)
    assert n == table.num_rows == 5
    assert table["event"].to_pylist() == [f"//{i}" for i in range(5)]
    assert table["photons"].to_pylist() == [2**40 + i for i in range(5)]


def test_small_batches_share_a_row_group(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 10)
    path = tmp_path / "f.parquet"
    tables.write_table(path, tables.frame_schema(), (frames(4, 4 * i) for i in range(6)))
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [12, 12]
    assert pq.read_table(path)["event"].to_pylist() == [f"//{i}" for i in range(24)]


def test_batches_are_taken_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 1)
    alive = []

    def batches():
        for i in range(5):
            alive.append(i)
            yield frames(2, i)

    written = []
    flush = tables.TableWriter.flush

    def watched(writer):
        if writer._waiting:
            written.append(len(alive))
        flush(writer)

    monkeypatch.setattr(tables.TableWriter, "flush", watched)
    tables.write_table(tmp_path / "f.parquet", tables.frame_schema(), batches())
    assert written == [1, 2, 3, 4, 5]


def test_table_without_rows(tmp_path):
    path = tmp_path / "p.parquet"
    assert tables.write_table(path, tables.peak_schema(), []) == 0
    assert pq.read_table(path).schema.names == PEAK_NAMES


def test_not_a_number_is_no_value(tmp_path):
    columns = frames(2)
    columns["score"] = np.array([np.nan, 2.0])
    tables.write_table(tmp_path / "f.parquet", tables.frame_schema(), [columns])
    assert pq.read_table(tmp_path / "f.parquet")["score"].to_pylist() == [None, 2.0]


def test_csv_says_the_same(tmp_path):
    path = tmp_path / "f.parquet"
    tables.write_table(path, tables.frame_schema(), [frames(3)], csv=True)
    rows = list(csv.DictReader((tmp_path / "f.csv").open()))
    assert list(rows[0]) == FRAME_NAMES
    table = pq.read_table(path).to_pylist()
    assert [row["file"] for row in rows] == [row["file"] for row in table]
    assert [int(row["photons"]) for row in rows] == [row["photons"] for row in table]
    assert rows[0]["hit"] == "false"


def test_failure_in_the_middle_leaves_nothing(tmp_path):
    def batches():
        yield frames(3)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        tables.write_table(tmp_path / "f.parquet", tables.frame_schema(), batches(), csv=True)
    assert not list(tmp_path.iterdir())


def test_failure_keeps_the_table_that_was_there(tmp_path):
    path = tmp_path / "f.parquet"
    tables.write_table(path, tables.frame_schema(), [frames(3)])
    with pytest.raises(KeyError):
        tables.write_table(path, tables.frame_schema(), [{"file": []}])
    assert pq.read_table(path).num_rows == 3
    assert [p.name for p in tmp_path.iterdir()] == ["f.parquet"]


def test_missing_folder(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        tables.write_table(tmp_path / "no" / "f.parquet", tables.frame_schema(), [])


def test_peaks_keep_their_position_to_full_precision(tmp_path):
    fs = [0.5, 2069.123456789]
    tables.write_table(tmp_path / "p.parquet", tables.peak_schema(), [peaks(7, fs)])
    table = pq.read_table(tmp_path / "p.parquet")
    assert table["fs"].to_pylist() == fs
    assert table["frame"].to_pylist() == [7, 7]
