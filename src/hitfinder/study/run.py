"""`hitfinder run --pipeline`: the report's chain of networks on frames of any source."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import hitfinder
from hitfinder.atomic import replacing
from hitfinder.errors import SourceError
from hitfinder.export.tables import write_table
from hitfinder.io.open import open_source
from hitfinder.io.source import FrameSource
from hitfinder.progress import counting
from hitfinder.results.store import OK, PENDING, Part, Store
from hitfinder.run.folder import inputs_fingerprint, open_folder
from hitfinder.run.job import Result, check_readable, terminate_as_interrupt
from hitfinder.study.networks.bundle import INFO
from hitfinder.study.pipeline import Answer, Pipeline

log = logging.getLogger(__name__)

FRAMES, PEAKS, RUN = "frames.parquet", "peaks.parquet", "run.json"
FRAME_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("event", pa.string()),
        ("status", pa.string()),
        ("hit", pa.bool_()),
        ("hit_probability", pa.float64()),
        ("photon_energy_ev", pa.float64()),
        ("camera_length_m", pa.float64()),
        ("n_peaks", pa.int32()),
    ]
)
PEAK_SCHEMA = pa.schema(
    [
        ("frame", pa.int64()),
        ("fs", pa.float64()),
        ("ss", pa.float64()),
        ("probability", pa.float64()),
    ]
)


ROW_DTYPE = np.dtype(
    [
        ("status", "U16"),
        ("hit", "?"),
        ("hit_probability", "f8"),
        ("photon_energy_ev", "f8"),
        ("camera_length_m", "f8"),
        ("n_peaks", "i4"),
    ]
)
PEAK_DTYPE = np.dtype([("fs", "f8"), ("ss", "f8"), ("probability", "f8")])
NO_PROFILE, NO_IMAGE = np.empty((2, 0)), np.empty((0, 0), np.int64)
"""The networks give no radial profile, and frames are not summed."""


def run_pipeline(
    inputs: Sequence[str],
    bundles: Sequence[str],
    out: Path,
    *,
    device: str = "auto",
    batch_size: int = 16,
    camera_length_m: float | None = None,
    photon_energy_ev: float | None = None,
    csv: bool = False,
    resume: bool = False,
    overwrite: bool = False,
) -> Result:
    """Judge every frame by the networks and write tables.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders, patterns or lists.
    bundles : sequence of str
        Trained networks, one for each attribute.
    out : Path
        Output folder.
    device : str
        Where to predict.
    batch_size : int
        Frames that are judged, and kept on disk, at once.
    camera_length_m, photon_energy_ev : float, optional
        What is known of the experiment, for networks that are told it.
    csv : bool
        Write the tables as CSV too.
    resume, overwrite : bool
        Go on with the run in the folder; replace the results in it.

    Returns
    -------
    Result
        How it ended; after Ctrl-C too, when the tables hold what was finished.

    Raises
    ------
    HitfinderError
        If inputs, networks or folder cannot be used, or do not fit; nothing is written then.
    """
    pipeline = Pipeline.load(bundles, device, camera_length_m, photon_energy_ev)
    source = open_source(inputs)
    check_readable(source)
    for predictor in pipeline.predictors.values():
        predictor.check_shape(source.shape)
    job = {
        **inputs_fingerprint(source),
        **{f"network {path}": _digest(path) for path in bundles},
        "camera_length_m": camera_length_m,
        "photon_energy_ev": photon_energy_ev,
        "frames at once": batch_size,
    }
    store = open_folder(out, job, resume, overwrite)
    if store is None:
        return Result(out / FRAMES, was_complete=True)
    with store:
        interrupted = _judge_all(source, pipeline, store, batch_size)
        rows = _write_tables(out, source, store, csv)
        judged = rows["status"] == OK
        done = Result(
            out / FRAMES,
            len(rows),
            int(judged.sum()),
            int(rows["hit"].sum()),
            int(rows["n_peaks"].sum()),
            interrupted,
        )
        run = {
            "complete": not interrupted,
            **{name: getattr(done, name) for name in ("frames", "processed", "hits", "peaks")},
            "pipeline": [str(bundle) for bundle in bundles],
            "made_by": f"hitfinder {hitfinder.__version__}",
            "fingerprint": job,
        }
        with replacing(out / RUN) as part:
            part.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        if not interrupted:
            store.remove()
    return done


def _digest(bundle: str) -> str:
    """Return what tells a bundle from others: its file holds the hashes of the rest."""
    return hashlib.sha256((Path(bundle) / INFO).read_bytes()).hexdigest()


def _judge_all(source: FrameSource, pipeline: Pipeline, store: Store, batch_size: int) -> bool:
    """Judge the frames that are left, batch by batch; return whether that was cut short."""
    if store.counts.frames:
        log.info("going on after %d of %d frames", store.counts.frames, len(source))
    buffer = np.empty((batch_size, *source.shape), source.dtype)
    try:
        with terminate_as_interrupt(), counting("frames", len(source)) as progress:
            progress(store.counts.frames)
            for start in range(0, len(source), batch_size):
                if start not in store.done:
                    part = _judged(source, pipeline, buffer, start)
                    store.add(part, NO_IMAGE)
                    progress(len(part.rows))
    except KeyboardInterrupt:
        log.warning("interrupted; writing what was judged so far")
        return True
    return False


def _judged(source: FrameSource, pipeline: Pipeline, buffer: NDArray, start: int) -> Part:
    """Judge one batch of frames."""
    rows = _no_rows(min(len(buffer), len(source) - start))
    read: list[int] = []
    for row in range(len(rows)):
        try:
            source.read(start + row, buffer[len(read)])
        except SourceError as error:
            rows["status"][row] = error.status
            continue
        read.append(row)
    found: list[Answer] = []
    if read:
        frames = buffer[: len(read)]
        rows["status"][read] = OK
        rows["hit_probability"][read] = pipeline.hit_probabilities(frames)
        for row, answer in zip(read, pipeline.run_batch(frames), strict=True):
            if answer is not None:
                found.append(answer)
                rows["hit"][row], rows["n_peaks"][row] = True, len(answer.peaks)
                for name in ("photon_energy_ev", "camera_length_m"):
                    rows[name][row] = getattr(answer, name)
    peaks = np.zeros(int(rows["n_peaks"].sum()), PEAK_DTYPE)
    if len(peaks):
        positions = np.concatenate([answer.peaks for answer in found])
        peaks["fs"], peaks["ss"] = positions.T
        peaks["probability"] = np.concatenate([answer.peak_probability for answer in found])
    return Part(start, rows, peaks, NO_PROFILE, {})


def _no_rows(n: int) -> NDArray[np.void]:
    """Return rows of frames that have not been judged."""
    rows = np.zeros(n, ROW_DTYPE)
    rows["status"] = PENDING
    for name in ("hit_probability", "photon_energy_ev", "camera_length_m"):
        rows[name] = np.nan
    return rows


def _write_tables(out: Path, source: FrameSource, store: Store, csv: bool) -> NDArray[np.void]:
    """Write the tables of frames and peaks; return the rows of the first."""
    rows = _no_rows(len(source))
    for part in store.parts():
        rows[part.start : part.start + len(part.rows)] = part.rows
    refs = [source.ref(i) for i in range(len(source))]
    places = {"file": [ref.file for ref in refs], "event": [ref.event for ref in refs]}
    columns = places | {name: rows[name] for name in ROW_DTYPE.names or ()}
    write_table(out / FRAMES, FRAME_SCHEMA, [columns], csv=csv)
    write_table(out / PEAKS, PEAK_SCHEMA, _peaks(store), csv=csv)
    return rows


def _peaks(store: Store) -> Iterator[dict[str, Any]]:
    for part in store.parts():
        yield {"frame": part.frame_of_peak} | {n: part.peaks[n] for n in PEAK_DTYPE.names or ()}
