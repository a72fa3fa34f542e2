"""`hitfinder run --pipeline`: the report's chain of networks on frames of any source."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import hitfinder
from hitfinder.atomic import replacing
from hitfinder.cli.bars import counting
from hitfinder.cli.job import check_readable
from hitfinder.errors import OutputError, SourceError
from hitfinder.export.tables import write_table
from hitfinder.inference.study import Answer, Pipeline
from hitfinder.io.open import open_source
from hitfinder.io.source import FrameSource

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


@dataclasses.dataclass
class Told:
    """What the pipeline said of a frame."""

    status: str
    probability: float = float("nan")
    answer: Answer | None = None


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
    overwrite: bool = False,
) -> dict[str, Any]:
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
        Frames that are judged at once.
    camera_length_m, photon_energy_ev : float, optional
        What is known of the experiment, for networks that are told it.
    csv : bool
        Write the tables as CSV too.
    overwrite : bool
        Replace tables in the folder.

    Returns
    -------
    dict
        Numbers of frames, hits and unreadable frames; also in ``run.json``.

    Raises
    ------
    HitfinderError
        If inputs or networks cannot be used, or do not fit; nothing is written then.
    """
    if (out / RUN).exists() and not overwrite:
        raise OutputError(
            "there are results already", str(out), "Give --overwrite to replace them."
        )
    pipeline = Pipeline.load(bundles, device, camera_length_m, photon_energy_ev)
    source = open_source(inputs)
    check_readable(source)
    for predictor in pipeline.predictors.values():
        predictor.check_shape(source.shape)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made ({error.strerror})", str(out)) from error
    with counting("frames", len(source)) as progress:
        told = []
        for some in _judged(source, pipeline, batch_size):
            told += some
            progress(len(some))
    write_table(out / FRAMES, FRAME_SCHEMA, [_frames(source, told)], csv=csv)
    write_table(out / PEAKS, PEAK_SCHEMA, [_peaks(told)], csv=csv)
    numbers = {
        "frames": len(told),
        "hits": sum(t.answer is not None for t in told),
        "unreadable": sum(t.status != "ok" for t in told),
        "pipeline": [str(bundle) for bundle in bundles],
        "made_by": f"hitfinder {hitfinder.__version__}",
    }
    with replacing(out / RUN) as part:
        part.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return numbers


def _judged(source: FrameSource, pipeline: Pipeline, batch_size: int) -> Iterator[list[Told]]:
    """Yield what is said of the frames, batch by batch."""
    buffer = np.empty((batch_size, *source.shape), source.dtype)
    for start in range(0, len(source), batch_size):
        told: list[Told] = []
        rows: list[int] = []
        for index in range(start, min(start + batch_size, len(source))):
            try:
                source.read(index, buffer[len(rows)])
            except SourceError as error:
                told.append(Told(error.status))
                continue
            rows.append(len(told))
            told.append(Told("ok"))
        if rows:
            frames = buffer[: len(rows)]
            probability = pipeline.hit_probabilities(frames)
            for row, p, answer in zip(rows, probability, pipeline.run_batch(frames), strict=True):
                told[row].probability, told[row].answer = float(p), answer
        yield told


def _frames(source: FrameSource, told: list[Told]) -> dict[str, Any]:
    refs = [source.ref(i) for i in range(len(told))]
    nan = float("nan")
    return {
        "file": [ref.file for ref in refs],
        "event": [ref.event for ref in refs],
        "status": [t.status for t in told],
        "hit": [t.answer is not None for t in told],
        "hit_probability": np.array([t.probability for t in told]),
        "photon_energy_ev": np.array(
            [t.answer.photon_energy_ev if t.answer else nan for t in told]
        ),
        "camera_length_m": np.array([t.answer.camera_length_m if t.answer else nan for t in told]),
        "n_peaks": np.array([len(t.answer.peaks) if t.answer else 0 for t in told], np.int32),
    }


def _peaks(told: list[Told]) -> dict[str, Any]:
    found = [(i, t.answer) for i, t in enumerate(told) if t.answer is not None]
    positions = np.concatenate([np.empty((0, 2)), *(a.peaks for _, a in found)])
    return {
        "frame": np.repeat([i for i, _ in found], [len(a.peaks) for _, a in found]).astype(
            np.int64
        ),
        "fs": positions[:, 0],
        "ss": positions[:, 1],
        "probability": np.concatenate([np.empty(0), *(a.peak_probability for _, a in found)]),
    }
