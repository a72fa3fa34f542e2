"""The results of a run, read from its folder: tables, hits, and the frames as the run had them."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from hitfinder import config
from hitfinder.errors import ConfigError
from hitfinder.experiment.beam import IN_PYTHON
from hitfinder.experiment.experiment import Experiment
from hitfinder.experiment.open import open_experiment
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.export.cxi import MASK
from hitfinder.geometry.crystfel import read_geom
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameRef
from hitfinder.results.hits import AGAIN, FRAMES, HITS_CXI, HITS_GEOM, PEAKS, RunHits, opened
from hitfinder.results.store import why_nothing

if TYPE_CHECKING:
    import pyarrow as pa

CRYSTALS, REPORT, RUN = "indexed.parquet", "report.html", "run.json"
REFLECTIONS, STREAM = "reflections.parquet", "indexed.stream"


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """What a run found, in numbers.

    Attributes
    ----------
    frames, processed, hits, peaks : int
        Frames of the inputs, frames with results, hits, peaks of all frames.
    by_status : mapping of str to int
        Frames by their status: ``ok``, or why there are no results.
    complete : bool
        False if the run was stopped before all frames were done.
    frames_with_peaks_left_out : int
        Frames with more peaks than are looked at, whose weakest are left out.
    doubtful_hits, doubted_frames : int
        Hits that rest on one thing that may be no Bragg peak, and frames that are no hits for it.
    """

    frames: int
    processed: int
    hits: int
    peaks: int
    by_status: Mapping[str, int]
    complete: bool
    frames_with_peaks_left_out: int = 0
    doubtful_hits: int = 0
    doubted_frames: int = 0

    @property
    def unreadable(self) -> bool:
        """Whether the run is complete and there are frames that could not be processed."""
        return self.complete and self.processed < self.frames

    def __str__(self) -> str:
        share = f" ({100 * self.hits / self.processed:.3g} %)" if self.processed else ""
        return (
            f"{self.processed} of {self.frames} frames processed, {self.hits} hits{share}, "
            f"{self.peaks} peaks"
        )


class Run:
    """The results of a run. Its tables are read from the folder when they are asked for.

    Parameters
    ----------
    folder : str or PathLike
        Folder that `hitfinder.run` wrote.
    was_complete : bool
        Whether `hitfinder.run` was asked to go on with a run that was complete.

    Raises
    ------
    ConfigError
        If it holds no such results.

    Attributes
    ----------
    folder : Path
        The folder. Relative paths in its files are taken from where the run was started.
    summary : RunSummary
        What was found, in numbers.
    settings : dict
        Every setting of the run, by dotted name.
    verdict : str
        In one line what the run is worth, and why (docs/run.md); empty if it was not judged.
    """

    def __init__(self, folder: str | os.PathLike[str], was_complete: bool = False) -> None:
        self.folder, self.was_complete = Path(folder), was_complete
        try:
            self._take(json.loads((self.folder / RUN).read_bytes()))
            pyarrow.parquet.read_metadata(self.folder / FRAMES)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            hint = "Name the folder that `hitfinder run` wrote."
            what = f"holds no results of a run{why_nothing(self.folder)}"
            raise ConfigError(what, str(self.folder), hint) from error

    @classmethod
    def at_work(cls, folder: Path, about: Mapping[str, Any]) -> Run:
        """Return a run that a job is at work on: its inputs and settings; there are no tables yet.

        Parameters
        ----------
        folder : Path
            Its folder.
        about : mapping
            What the job says of itself, with the keys of ``run.json`` that are known beforehand.

        Raises
        ------
        ConfigError
            If that is not what a job says.
        """
        made = cls.__new__(cls)
        made.folder, made.was_complete = folder, False
        try:
            made._take(about)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError("holds no run at work", str(folder)) from error
        return made

    def _take(self, run: Mapping[str, Any]) -> None:
        self.settings: dict[str, Any] = dict(run["settings"])
        self.summary = RunSummary(**run["counts"], complete=run["complete"])
        self.verdict: str = run.get("verdict", {}).get("line", "")
        self._started_in: str = run.get("directory", "")
        self._origin: dict[str, str] = run.get("origin", {})
        self._inputs: list[str] = run["inputs"]
        self._check()

    def _check(self) -> None:
        """Raise TypeError unless what was read is of the kinds that runs write."""
        counts = dataclasses.asdict(self.summary)
        numbers = [value for name, value in counts.items() if name not in ("complete", "by_status")]
        texts = [self._started_in, *self._inputs, *self.settings, *self._origin]
        files = [self.settings.get(f"geometry.{name}") for name in ("file", "mask")]
        if not (
            all(type(number) is int and number >= 0 for number in numbers)
            and isinstance(self.summary.complete, bool)
            and isinstance(self._inputs, list)
            and isinstance(self._origin, dict)
            and isinstance(self.verdict, str)
            and all(map(_is_name, texts))
            and all(file is None or _is_name(file) for file in files)
        ):
            raise TypeError("not what a run writes")

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {self.summary}>"

    @property
    def report(self) -> Path:
        """The report: one page with everything at a glance."""
        return self.folder / REPORT

    @functools.cached_property
    def frames(self) -> pa.Table:
        """A row per frame, in input order."""
        return self._table(FRAMES)

    @functools.cached_property
    def peaks(self) -> pa.Table:
        """A row per peak of every frame, in frame order; ``frame`` is the row in `frames`."""
        return self._table(PEAKS)

    @property
    def crystals(self) -> pa.Table:
        """A row per crystal, in frame order, if the run has been indexed.

        Raises
        ------
        ConfigError
            If it has not.
        """
        return self._table(CRYSTALS, "the run has not been indexed", "Use hitfinder index.")

    @property
    def reflections(self) -> pa.Table:
        """A row per measured reflection, in frame order, if the run has been indexed.

        Raises
        ------
        ConfigError
            If it has not, or without intensities.
        """
        return self._table(REFLECTIONS, "no reflections were measured", "Use hitfinder index.")

    def _table(self, name: str, what: str = "cannot be read", hint: str = AGAIN) -> pa.Table:
        try:
            return pyarrow.parquet.read_table(self.folder / name)
        except (OSError, ValueError) as error:
            raise ConfigError(what, str(self.folder / name), hint) from error

    @functools.cached_property
    def geometry(self) -> Geometry:
        """The geometry that the frames were searched with, with every mask.

        Raises
        ------
        ConfigError
            If what belongs to the hits is not in the folder.
        """
        geom = read_geom(self.folder / HITS_GEOM)
        with opened(self.folder / HITS_CXI) as file:
            geometry = geom.resolve(file).geometry()
            masks = file[MASK][()] != 0
        common = masks if masks.ndim == 2 else masks.all(axis=0)
        detector = geometry.detector.with_mask(common) if masks.size else geometry.detector
        return dataclasses.replace(geometry, detector=detector)

    @functools.cached_property
    def bandwidth(self) -> float | None:
        """Relative bandwidth of the beam, full width, if the run's geometry file says it."""
        path = self.folder / HITS_GEOM
        return read_geom(path).full_bandwidth if path.exists() else None

    @property
    def inputs(self) -> list[str]:
        """The files of the run, as they are reached from the working directory."""
        return [self._from_here(path) for path in self._inputs]

    def open_experiment(self, geometry: Geometry | None = None) -> Experiment:
        """Open the frames of the run again, as the run had them.

        Parameters
        ----------
        geometry : Geometry, optional
            Where the pixels are, if that came from Python (`has_given_geometry`).

        Raises
        ------
        HitfinderError
            As `hitfinder.open_experiment`.
        """
        how = {name: self.settings.get(name) for name in ("reader", "frames", "limit")}
        return open_experiment(self.inputs, self.geometry_settings(), geometry, **how)

    @functools.cached_property
    def experiment(self) -> Experiment:
        """The frames of the run, opened when they are first asked for; see `open_experiment`."""
        return self.open_experiment()

    def reread(self) -> Run:
        """Return the run as its folder has it by now, with its `experiment` if that was opened.

        To open the frames takes long where files are many, and says once more what is odd of them.
        """
        run = Run(self.folder)
        if "experiment" in vars(self):
            vars(run)["experiment"] = self.experiment
        return run

    @property
    def has_given_geometry(self) -> bool:
        """Whether the geometry came from Python, so that no file and no setting tells it."""
        return self._origin.get("detector") == IN_PYTHON

    def geometry_settings(self) -> GeometrySettings:
        """Return where the run had the pixels."""
        place = {
            name.removeprefix("geometry."): value
            for name, value in self.settings.items()
            if name.startswith("geometry.") and value is not None
        }
        for name in ("file", "mask"):
            if name in place:
                place[name] = self._from_here(place[name])
        return config.build(GeometrySettings, place, str(self.folder / RUN))

    def _from_here(self, path: str) -> str:
        """Return a path of the run as it is reached from the working directory."""
        there = os.path.join(self._started_in, path)
        if os.path.realpath(there) == os.path.realpath(path):
            return path
        # What was moved together with the working directory is found where it is now.
        return there if os.path.exists(there.partition("//")[0] or there) else path

    def ref(self, row: int) -> FrameRef:
        """Return where a frame of the run is kept.

        Raises
        ------
        ConfigError
            If the run has no such frame.
        """
        if not 0 <= row < self.frames.num_rows:
            what = f"the run has no frame {row}, the last is {self.frames.num_rows - 1}"
            raise ConfigError(what, str(self.folder))
        file, event = (self.frames[name][row].as_py() for name in ("file", "event"))
        return FrameRef(self._from_here(file), event)

    def row(self, ref: FrameRef) -> int:
        """Return which frame of the run is kept at a place.

        Raises
        ------
        ConfigError
            If none is.
        """
        real = os.path.realpath(ref.file)
        known: dict[str, bool] = {}
        places = zip(*(self.frames[name].to_pylist() for name in ("file", "event")), strict=True)
        for row, (file, event) in enumerate(places):
            if event != ref.event:
                continue
            if file not in known:
                known[file] = os.path.realpath(self._from_here(file)) == real
            if known[file]:
                return row
        raise ConfigError(f"frame {ref.file} {ref.event} is not in the run", str(self.folder))

    def peaks_of(self, row: int) -> NDArray[np.void]:
        """Return a frame's peaks, with the fields that tell of a peak to a person."""
        names = ["fs", "ss", "probability", "photons", "resolution_a"]
        table = pyarrow.parquet.read_table(
            self.folder / PEAKS, columns=names, filters=[("frame", "==", row)]
        )
        peaks = np.zeros(table.num_rows, [(name, "f8") for name in names])
        for name in names:
            peaks[name] = table[name].to_numpy()
        return peaks

    def hits(self) -> RunHits:
        """Return the hits, which have to be there.

        Raises
        ------
        ConfigError
            If the run has no hit.
        """
        return RunHits(self.folder)


def _is_name(text: object) -> bool:
    """Whether a text can be the name of a file, and so be shown."""
    if not isinstance(text, str) or "\0" in text:
        return False
    os.fsencode(text)  # a ValueError of halves of characters
    return True


def open_run(folder: str | os.PathLike[str]) -> Run:
    """Open the results of a run.

    Parameters
    ----------
    folder : str or PathLike
        Folder that `hitfinder.run`, or the command ``hitfinder run``, wrote.

    Raises
    ------
    ConfigError
        If it holds no results of a run.

    Examples
    --------
    >>> import hitfinder as hf
    >>> run = hf.open_run("run7")
    >>> run.summary.frames == run.frames.num_rows
    True
    >>> run.frames.column_names[:4]
    ['file', 'event', 'status', 'hit']
    """
    return Run(folder)
