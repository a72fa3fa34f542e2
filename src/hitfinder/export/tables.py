"""The tables of frames and of peaks, as Parquet and CSV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.crystal.orientation import COLUMNS
from hitfinder.io.source import FrameRef

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 1 << 16
"""Rows gathered before they are written, so that a table of any length needs little memory."""

FRAME_COLUMNS = {
    "file": ("string", "", "file that holds the frame, as the user named it"),
    "event": ("string", "", "//index within the file, empty for a single-frame file"),
    "status": ("string", "", "ok, or why the frame could not be used"),
    "hit": ("bool_", "", "whether the frame is a hit"),
    "doubt": (
        "string",
        "",
        "one-pixel, track, spot, static-place, ice, line: what it rests on, if doubtful",
    ),
    "score": (
        "float64",
        "",
        "-log10 of the share of blank frames as good, or the finder's own",
    ),
    "n_peaks": ("int32", "1", "peaks found"),
    "peaks_left_out": (
        "bool_",
        "",
        "whether there were more than are looked at: the weakest are missing",
    ),
    "photons": ("int64", "photon", "sum over the pixels that are not masked"),
    "background_per_pixel": ("float64", "photon/pixel", "mean expected background"),
    "resolution_a": ("float32", "angstrom", "resolution within which 95 % of the peaks lie"),
    "hit_probability": ("float32", "1", "probability of a hit, were half of the frames hits"),
    "crystal_score": ("float64", "", "-log10 of the share of blank frames a known crystal fits so"),
    "joint_score": ("float64", "", "the same of peaks and the known crystal together"),
    "joint_probability": ("float32", "1", "hit_probability with what the known crystal says"),
    "photon_energy_ev": ("float32", "eV", "photon energy, estimated from the frame"),
    "photon_energy_sigma_ev": ("float32", "eV", "its standard deviation"),
    "photon_energy_low_ev": ("float32", "eV", "lower end of its 68 % interval"),
    "photon_energy_high_ev": ("float32", "eV", "upper end of its 68 % interval"),
    "camera_length_m": ("float32", "m", "camera length, estimated from the frame"),
    "camera_length_sigma_m": ("float32", "m", "its standard deviation"),
    "camera_length_low_m": ("float32", "m", "lower end of its 68 % interval"),
    "camera_length_high_m": ("float32", "m", "upper end of its 68 % interval"),
    "geometry": ("string", "", "worth of these: ok, few-photons, outside, not-water, or finder"),
    "seconds": ("float32", "s", "time to read and process the frame"),
}
"""Columns of the frame table, a row per frame in input order: type, unit, meaning."""

PEAK_COLUMNS = {
    "frame": ("int64", "1", "row of the frame table, from 0"),
    "fs": ("float64", "pixel", "position along fast scan; the first pixel's centre is 0.5"),
    "ss": ("float64", "pixel", "position along slow scan; the first pixel's centre is 0.5"),
    "photons": ("float32", "photon", "photons above the background"),
    "background": ("float32", "photon", "expected background under the peak"),
    "log_p": ("float32", "1", "natural logarithm of the probability that chance gives such a peak"),
    "n_pixels": ("int32", "1", "pixels of the peak"),
    "snr": ("float32", "1", "signal-to-noise ratio"),
    "resolution_a": ("float32", "angstrom", "resolution at the peak"),
    "probability": ("float32", "1", "probability of a Bragg peak"),
    "photons_sigma": ("float32", "photon", "standard deviation of the photons"),
}
"""Columns of the peak table, a row per peak in frame order: type, unit, meaning."""

TURN_SIGMAS = tuple(f"turn_sigma_{axis}_deg" for axis in "xyz")
"""Columns that say how surely an orientation is known, about the laboratory's axes."""

INDEX_COLUMNS = {
    "frame": ("int64", "1", "row of the frame table, from 0"),
    "crystal": ("int32", "1", "crystal of the frame, from 0"),
    "indexed": ("bool_", "", "whether the crystal counts as indexed"),
    "score": ("float32", "1", "natural logarithm of the likelihood over that of no lattice"),
    "chance": ("float32", "1", "score of the same peaks, each turned about the beam at random"),
    "n_peaks": ("int32", "1", "peaks of the frame"),
    "n_indexed": ("float32", "1", "peaks that belong to the crystal, by their probabilities"),
    "false_share": ("float64", "1", "share of frames without a crystal that are as good"),
    "photons": (
        "float32",
        "photon",
        "Bragg photons of such a frame, over orientations",
    ),
    "probability": ("float32", "1", "probability of the orientation, were half of the frames hits"),
    **{
        name: ("float32", "degree", f"standard deviation of a further turn about {name[-5]}")
        for name in TURN_SIGMAS
    },
    **{name: ("float64", "1/m", f"component of {name[0]}*") for name in COLUMNS},
}
"""Columns of the table of crystals, a row per crystal in frame order: type, unit, meaning."""

_PLACE_COLUMNS = {name: FRAME_COLUMNS[name] for name in ("file", "event")}

REFLECTION_COLUMNS = {
    "frame": ("int64", "1", "row of the frame table, from 0"),
    "crystal": ("int32", "1", "crystal of the frame, from 0"),
    "h": ("int32", "1", "index h in the conventional cell"),
    "k": ("int32", "1", "index k in the conventional cell"),
    "l": ("int32", "1", "index l in the conventional cell"),
    "intensity": ("float32", "photon", "photons, with those made up for where no pixel is read"),
    "sigma": ("float32", "photon", "standard deviation of the intensity"),
    "expected": ("float32", "photon", "photons that the structure makes expect, if known"),
    "weight": ("float32", "1", "photons for each |F|², relative; partiality is in it"),
    "polarisation": ("float32", "1", "the factor of polarisation in the weight"),
    "partiality": ("float32", "1", "share of the reflection that the beam's band excites"),
    "covered": ("float32", "1", "share of the photons that fall on pixels that are read"),
    "fs": ("float32", "pixel", "position along fast scan; the first pixel's centre is 0.5"),
    "ss": ("float32", "pixel", "position along slow scan; the first pixel's centre is 0.5"),
    "panel": ("string", "", "panel of the geometry"),
    "resolution_a": ("float32", "angstrom", "resolution d of the reflection"),
    "counted": ("int64", "photon", "photons counted in the footprint"),
    "background": ("float32", "photon", "background expected there"),
    "n_pixels": ("int32", "1", "pixels of the footprint"),
}
"""Columns of the table of reflections, a row per reflection in frame order: type, unit, meaning."""

Columns = Mapping[str, Any]


def reflection_schema() -> pa.Schema:
    """Return the schema of the table of reflections, as `frame_schema`."""
    return schema_of(REFLECTION_COLUMNS)


def index_schema() -> pa.Schema:
    """Return the schema of the table of crystals, as `frame_schema`."""
    return schema_of(INDEX_COLUMNS)


def frame_schema() -> pa.Schema:
    """Return the schema of the frame table, units and meanings in the fields' metadata."""
    return schema_of(FRAME_COLUMNS)


def peak_schema() -> pa.Schema:
    """Return the schema of the peak table, units and meanings in the fields' metadata."""
    return schema_of(PEAK_COLUMNS)


def placed_peak_schema() -> pa.Schema:
    """Return the schema of the peak table with the place of each peak's frame before it."""
    return schema_of(_PLACE_COLUMNS | PEAK_COLUMNS)


def frame_columns(refs: Sequence[FrameRef], rows: NDArray[np.void]) -> dict[str, Any]:
    """Return frames as columns of the frame table.

    Parameters
    ----------
    refs : sequence of FrameRef
        Where the frames are kept.
    rows : structured ndarray, shape (n_frames,)
        A row per frame with the other columns as fields.
    """
    places = {"file": [ref.file for ref in refs], "event": [ref.event for ref in refs]}
    return places | {name: rows[name] for name in FRAME_COLUMNS if name not in places}


def peak_columns(frames: NDArray[np.integer], peaks: NDArray[np.void]) -> dict[str, Any]:
    """Return peaks as columns of the peak table.

    Parameters
    ----------
    frames : ndarray of int, shape (n_peaks,)
        Row of each peak's frame in the frame table.
    peaks : structured ndarray, shape (n_peaks,)
        A row per peak with the other columns as fields; further fields are left out.
    """
    return {"frame": frames} | {name: peaks[name] for name in PEAK_COLUMNS if name != "frame"}


def peaks_to_arrow(peaks: NDArray[np.void]) -> pa.Table:
    """Return peaks as a table of their own, which has the columns of the peak table but ``frame``.

    Parameters
    ----------
    peaks : structured ndarray, shape (n_peaks,)
        As for `peak_columns`.
    """
    import pyarrow as pa

    schema = peak_schema().remove(0)
    arrays = [pa.array(peaks[field.name], field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


class TableWriter:
    """Takes the rows of a table in batches of any size; `table_writer` makes one.

    Attributes
    ----------
    rows : int
        Rows taken in.
    """

    def __init__(self, schema: pa.Schema, writers: Sequence[Any]) -> None:
        self.rows = 0
        self._schema, self._writers = schema, writers
        self._waiting: list[pa.RecordBatch] = []

    def add(self, columns: Columns) -> None:
        """Take in columns by name, of one length; not-a-number stands for no value."""
        import pyarrow as pa

        arrays = [pa.array(columns[f.name], f.type, from_pandas=True) for f in self._schema]
        self.add_batch(pa.record_batch(arrays, schema=self._schema))

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Take in rows of the table's own schema."""
        self._waiting.append(batch)
        self.rows += batch.num_rows
        if sum(batch.num_rows for batch in self._waiting) >= ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait, as one row group."""
        import pyarrow as pa

        if self._waiting:
            table = pa.Table.from_batches(self._waiting).combine_chunks()
            for writer in self._writers:
                writer.write_table(table)
        self._waiting = []


@contextlib.contextmanager
def table_writer(
    path: str | os.PathLike[str], schema: pa.Schema, *, csv: bool = False
) -> Iterator[TableWriter]:
    """Open a table as Parquet that appears under its name, whole, when the block ends well.

    Parameters
    ----------
    path : path-like
        The ``.parquet`` file.
    schema : pyarrow.Schema
        Of `schema_of`.
    csv : bool
        Whether to write the same as CSV beside it, ending in ``.csv``.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    import pyarrow.csv
    import pyarrow.parquet

    with contextlib.ExitStack() as stack:
        part = stack.enter_context(replacing(path))
        writers = [stack.enter_context(pyarrow.parquet.ParquetWriter(part, schema))]
        if csv:
            part = stack.enter_context(replacing(Path(path).with_suffix(".csv")))
            writers.append(stack.enter_context(pyarrow.csv.CSVWriter(part, schema)))
        writer = TableWriter(schema, writers)
        yield writer
        writer.flush()


def write_table(
    path: str | os.PathLike[str],
    schema: pa.Schema,
    batches: Iterable[Columns],
    *,
    csv: bool = False,
) -> int:
    """Write a table as Parquet, whole or not at all; see `table_writer`.

    Parameters
    ----------
    path, schema, csv
        As for `table_writer`.
    batches : iterable of mapping
        Columns by name, of any number of rows each; taken one at a time.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    with table_writer(path, schema, csv=csv) as writer:
        for batch in batches:
            writer.add(batch)
    return writer.rows


def write_csv(path: str | os.PathLike[str], schema: pa.Schema, batches: Iterable[Columns]) -> None:
    """Write a table as CSV only, whole or not at all.

    Parameters
    ----------
    path, schema, batches
        As for `write_table`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import pyarrow.csv

    with replacing(path) as part, pyarrow.csv.CSVWriter(part, schema) as out:
        writer = TableWriter(schema, [out])
        for batch in batches:
            writer.add(batch)
        writer.flush()


def schema_of(columns: Mapping[str, tuple[str, str, str]]) -> pa.Schema:
    """Return the schema of columns given by type, unit and meaning.

    Parameters
    ----------
    columns : mapping of str to (str, str, str)
        By name, the Arrow type (the name of a function of pyarrow), and what is kept in the
        field's metadata: unit and meaning.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(name, getattr(pa, kind)(), metadata={"unit": unit, "meaning": meaning})
            for name, (kind, unit, meaning) in columns.items()
        ]
    )
