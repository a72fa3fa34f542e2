"""The output folder of a job: new, to be gone on with, or to be replaced."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

import hitfinder
from hitfinder import config
from hitfinder.errors import OutputError
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource
from hitfinder.job.names import check_name
from hitfinder.job.outputs.write import files_of
from hitfinder.job.settings import JobSettings
from hitfinder.results.finished import TOTALS_FILE
from hitfinder.results.run import RUN
from hitfinder.results.store import PARTS, Store

OURS = (
    *("frames.parquet", "peaks.parquet", "frames.csv", "peaks.csv", "hits.lst", "hits.cxi"),
    *("hits.geom", "report.html", TOTALS_FILE, RUN),
    *("indexed.parquet", "indexed.csv", "indexed.lst", "indexed.sol", "indexed.json"),
    *("reflections.parquet", "reflections.csv", "indexed.stream", "indexed.cell"),
)
"""Files that our outputs write, and those that go with the results of a job."""


_CHANGED_AT = "bytes, changed at"
_MISSING = "missing"


def fingerprint(
    source: FrameSource, geometry: Geometry, settings: JobSettings, finder: str = ""
) -> dict[str, Any]:
    """Describe everything that the results of a job depend on, to be compared later.

    Parameters
    ----------
    source : FrameSource
        The frames.
    geometry : Geometry
        Where the pixels are.
    settings : JobSettings
        What was chosen.
    finder : str
        What the finder's answers depend on besides: its `fingerprint`.
    """
    return {
        **inputs_fingerprint(source),
        "geometry": _digest(geometry),
        "choice of frames": settings.frames or "all",
        "limit": settings.limit,
        "reader": settings.reader,
        "hot_pixel_frames": settings.hot_pixel_frames,
        **config.flatten(settings.finder, "finder."),
        "model of the finder": finder,
    }


def inputs_fingerprint(source: FrameSource) -> dict[str, Any]:
    """Describe the frames of a job: which, in which order, in which state of their files."""
    refs = hashlib.sha256()
    files: dict[str, None] = {}
    named: set[str] = set()
    for index in range(len(source)):
        ref = source.ref(index)
        if ref.file not in named:
            named.add(ref.file)
            check_name(ref.file)
            files.setdefault(os.path.realpath(ref.file))
        if not ref.event.startswith("//") and ref.group:
            check_name(ref.group, ref.file)
        refs.update(f"{ref.file} {ref.event}\n".encode("utf-8", "surrogateescape"))
    for linked in source.contents.linked_files:
        check_name(linked.path)
        files.setdefault(os.path.realpath(linked.path))
    in_memory = {os.path.realpath(m.ref(0).file): m.digest for m in source.members if m.digest}
    return {
        "hitfinder version": hitfinder.__version__,
        "number of frames": len(source),
        **{f"input {file}": in_memory.get(file) or _state(file) for file in files},
        "order of the frames": refs.hexdigest(),
    }


def changed_inputs(job: dict[str, Any]) -> list[str]:
    """Return the files of a job that are there and not as its fingerprint has them."""
    files = {name.removeprefix("input "): state for name, state in job.items()}
    known = {file: state for file, state in files.items() if _CHANGED_AT in str(state)}
    return [f for f, state in known.items() if _state(f) not in (state, _MISSING)]


def _state(file: str) -> str:
    try:
        found = os.stat(file)
    except OSError:
        return _MISSING
    return f"{found.st_size} {_CHANGED_AT} {found.st_mtime_ns}"


def _digest(geometry: Geometry) -> str:
    detector = geometry.detector
    numbers = (
        *(detector.shape, detector.panels, detector.saturation),
        *(geometry.camera_length_m, geometry.photon_energy_ev, geometry.polarisation),
    )
    digest = hashlib.sha256(repr(numbers).encode())
    digest.update(np.packbits(detector.full_mask).tobytes())
    return digest.hexdigest()


def open_folder(
    out: Path, job: dict[str, Any], resume: bool, overwrite: bool, files: Collection[str] = ()
) -> Store | None:
    """Make the output folder ready for a job.

    Parameters
    ----------
    out : Path
        The folder.
    job : dict
        What `fingerprint` says of the job.
    resume : bool
        Go on with the unfinished job in the folder, if there is one.
    overwrite : bool
        Replace the results in the folder.
    files : collection of str
        Names of the files that the outputs of the job will write.

    Returns
    -------
    Store or None
        Where to keep results, locked; None if the job in the folder is the same and complete.

    Raises
    ------
    OutputError
        If the folder is not empty and neither flag is given, holds another job, is in use, or
        cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        present = {path.name for path in out.iterdir()}
    except OSError as error:
        raise OutputError.unwritable(error.strerror, out, "cannot be used as a folder") from error
    if present and not (resume or overwrite):
        hint = "Use --resume to complete the run in it, --overwrite to replace its results."
        raise OutputError("the folder is not empty", str(out), hint)
    if resume and not overwrite and (finished := _finished(out)) is not None:
        compare_jobs(finished, job, out)
        return None
    if resume and not overwrite and present and PARTS not in present:
        hint = "Use --overwrite, or another folder."
        raise OutputError("there is no unfinished run in the folder", str(out), hint)
    store = Store(out)
    try:
        _fill(store, out, job, overwrite, files)
    except BaseException:
        store.close()
        raise
    return store


def _fill(
    store: Store, out: Path, job: dict[str, Any], fresh: bool, files: Collection[str]
) -> None:
    before = None if fresh else store.load_job()
    if before is not None:
        compare_jobs(before, job, out)
        store.resume()
        # Files that were missing may have come.
        store.save_job(job)
        return
    for name in {*files, *files_of(out), *OURS}:
        (out / name).unlink(missing_ok=True)
    store.clear()
    store.save_job(job)


def _finished(out: Path) -> dict[str, Any] | None:
    """Return the fingerprint of the complete job in a folder, if there is one."""
    try:
        run = json.loads((out / "run.json").read_bytes())
        return run["fingerprint"] if run["complete"] and not run.get("wanting") else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def compare_jobs(
    before: dict[str, Any],
    now: dict[str, Any],
    out: Path,
    hint: str = "Use the same input and settings, or --overwrite.",
) -> None:
    """Raise OutputError, naming what differs, if two jobs are not the same.

    A file that was missing before may be there now. What a broken link leads to is only known by
    its name then.
    """
    missing = {os.path.basename(name) for name, state in before.items() if state == _MISSING}
    differences = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if name.startswith("input "):
            if old == _MISSING or (old is None and os.path.basename(name) in missing):
                continue
            how = "is new" if old is None else "is gone" if new is None else "changed"
            how = "is missing" if new == _MISSING else how
            differences.append(f"{name} {how}")
        elif isinstance(old, str) and len(old) == 64:
            differences.append(f"the {name} differs")
        else:
            differences.append(f"{name} was {old}, is {new}")
    if differences:
        more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
        what = "the run in this folder is another one: " + "; ".join(differences[:3]) + more
        raise OutputError(what, str(out), hint)
