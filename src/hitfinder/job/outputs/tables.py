"""The tables of frames and peaks, and the list of hits."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hitfinder.export import tables
from hitfinder.io.lst import write_lst
from hitfinder.io.source import FrameRef
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.settings import OutputSettings
from hitfinder.results.finished import TOTALS_FILE, write_totals
from hitfinder.results.hits import FRAMES, PEAKS


class TablesOutput:
    """A row per frame and a row per peak, as Parquet, and as CSV if that is asked for.

    Beside them is what is added up over the frames.
    """

    before_verdict = True

    def __init__(self, settings: OutputSettings) -> None:
        self._csv = settings.csv
        as_csv = tuple(str(Path(name).with_suffix(".csv")) for name in (FRAMES, PEAKS))
        self.files = (FRAMES, PEAKS, TOTALS_FILE, *(as_csv if self._csv else ()))

    def write(self, found: Findings, folder: Path) -> None:
        """Write the tables."""

        def frames() -> Iterator[tables.Columns]:
            for chunk in found.chunks():
                refs = [found.ref(int(frame)) for frame in chunk.frames]
                yield tables.frame_columns(refs, chunk.rows)

        def peaks() -> Iterator[tables.Columns]:
            for chunk in found.chunks():
                yield tables.peak_columns(chunk.frame_of_peak, chunk.peaks)

        def placed_peaks() -> Iterator[tables.Columns]:
            for chunk in found.chunks():
                refs = [found.ref(int(frame)) for frame in chunk.frame_of_peak]
                places = {"file": [r.file for r in refs], "event": [r.event for r in refs]}
                yield places | tables.peak_columns(chunk.frame_of_peak, chunk.peaks)

        tables.write_table(folder / FRAMES, tables.frame_schema(), frames(), csv=self._csv)
        tables.write_table(folder / PEAKS, tables.peak_schema(), peaks())
        if self._csv:
            # A line of text stands by itself: it names the frame that it is of.
            path = (folder / PEAKS).with_suffix(".csv")
            tables.write_csv(path, tables.placed_peak_schema(), placed_peaks())
        write_totals(folder / TOTALS_FILE, found.totals, found.chunks())


class ListOutput:
    """The hits as a CrystFEL list.

    Files are named from the root: CrystFEL takes other names from the folder that it is started in.
    """

    files = ("hits.lst",)
    before_verdict = True

    def __init__(self, settings: OutputSettings) -> None:
        pass

    def write(self, found: Findings, folder: Path) -> None:
        """Write the list."""
        place = functools.cache(_from_root)

        def hits() -> Iterator[FrameRef]:
            for chunk in found.chunks():
                for row in np.flatnonzero(chunk.rows["hit"]):
                    ref = found.ref(int(chunk.frames[row]))
                    yield FrameRef(place(ref.file), ref.event)

        write_lst(folder / self.files[0], hits())


def _from_root(file: str) -> str:
    """Name a file from the root; an array, which is no file, keeps its name."""
    return os.path.abspath(file) if os.path.exists(file) else file
