"""Runs on a stream, or on files that are still being written; what `hitfinder live` runs."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Unpack

from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.errors import ConfigError, GeometryError, HitfinderError
from hitfinder.indexing.indexer import USUAL_BANDWIDTH
from hitfinder.interrupts import terminate_as_interrupt
from hitfinder.io.simplon.series import MOST_BYTES, Series
from hitfinder.job.live.checks import check_settings
from hitfinder.job.live.feeds import Feed, FilesFeed, StreamFeed
from hitfinder.job.live.finish import refuse_leftovers
from hitfinder.job.live.handing import senders_at
from hitfinder.job.live.series_run import SeriesRun
from hitfinder.job.live.settings import LiveSettings
from hitfinder.job.live.warm import warm_up
from hitfinder.job.names import check_name
from hitfinder.job.run import executor_of
from hitfinder.job.settings import JobSettings, RunOptions, job_settings
from hitfinder.results.run import Run

log = logging.getLogger(__name__)

SAY_AFTER_S = 30.0
"""When nothing comes for so long, it is said what came so far."""

END_OF_FILES_S = 10.0
"""No file that comes later than so long after the last one is waited for, if there is an end."""

_LOOK_AGAIN_S = 0.02


def live(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: JobSettings | str | os.PathLike[str] | None = None,
    *,
    protocol: str | None = None,
    channel: str | None = None,
    stop_at_end: bool = False,
    overwrite: bool = False,
    longest_wait_s: float = 2.0,
    timeout_s: float | None = None,
    most_bytes: int = MOST_BYTES,
    offer: str | None = None,
    publish: str | None = None,
    cell: str | os.PathLike[str] | Sequence[float] | None = None,
    space_group: str | None = None,
    bandwidth: float = USUAL_BANDWIDTH,
    index_workers: int = 1,
    beside: AbstractContextManager[object] | None = None,
    geometry: str | os.PathLike[str] | None = None,
    **changes: Unpack[RunOptions],
) -> Iterator[Run]:
    """Find hits and peaks in frames while they come; yield each series that is finished.

    Parameters
    ----------
    source : str or PathLike
        ``tcp://host:port`` of a detector's stream, a folder of files, or a master.
    out : str or PathLike
        Folder for the results: of each series in a folder of its own, unless `stop_at_end`.
    settings : JobSettings, str or PathLike, optional
        As for `hitfinder.run`.
    protocol : str, optional
        ``v1`` or ``stream2``; that of each message if None.
    channel : str, optional
        Which image of a frame is searched, such as ``threshold_2``; the first if None.
    stop_at_end : bool
        Stop when the first series has ended.
    overwrite : bool
        Replace the results in the folder.
    longest_wait_s : float
        Frames that wait longer are passed over for newer ones.
    timeout_s : float, optional
        End when nothing comes for so long; wait for ever if None.
    most_bytes : int
        Bytes of frames that wait to be processed.
    offer : str, optional
        Where to listen, ``tcp://host:port``, for CrystFEL to ask for hits.
    publish : str, optional
        Where to listen for those who subscribe to all hits.
    cell : str, PathLike or sequence of float, optional
        Unit cell of the crystals, as for `hitfinder.index`; hits are indexed on the way.
    space_group : str, optional
        Their space group, before what the file of the cell says.
    bandwidth : float
        Relative bandwidth of the beam, full width, by which they are indexed.
    index_workers : int
        Processes that index hits, as many as they can.
    beside : context manager, optional
        Goes on beside the run: begins when all that is given is known to be usable, before the
        first frame is waited for.
    geometry : str or PathLike, optional
        CrystFEL geometry file.
    **changes
        As for `hitfinder.run`.

    Yields
    ------
    Run
        The results of a series. After Ctrl-C ``summary.complete`` is False.

    Raises
    ------
    HitfinderError
        If source, settings, geometry, cell, addresses or folder cannot be used, or nothing comes.
    """
    for name in (str(out), os.getcwd()):
        check_name(name)
    chosen = job_settings(settings, {**changes, "geometry": geometry})
    check_settings(chosen)
    feed = open_feed(source, chosen, protocol, channel, stop_at_end, timeout_s, most_bytes)
    if space_group is not None and cell is None:
        raise ConfigError("a space group is given without a cell", hint="Give --cell.")
    lattice = None if cell is None else read_lattice(cell, space_group)
    wait_s = longest_wait_s if not feed.one_series else float("inf")
    options = LiveSettings(wait_s, timeout_s, lattice, bandwidth, index_workers)
    folder, n_done = Path(out), 0
    if stop_at_end or feed.one_series:
        refuse_leftovers(folder, overwrite)
    with (
        terminate_as_interrupt(),
        senders_at(offer, publish) as senders,
        beside or contextlib.nullcontext(),
        feed,
        executor_of(chosen) as executor,
    ):
        options = dataclasses.replace(options, senders=senders)
        warm_up(executor, chosen.finder, chosen.estimate, chosen.hot_pixel_frames > 0)
        while (series := _next_series(feed, os.fspath(source), timeout_s, n_done)) is not None:
            alone = stop_at_end or feed.one_series
            place = folder if alone else _free(folder / f"series_{series.id.number:06d}")
            run = _begun(place, os.fspath(source), feed, series, chosen, options, overwrite, alone)
            if run is None:
                continue
            finished = run.run(executor)
            n_done += 1
            yield finished
            if alone or not finished.summary.complete:
                return


def open_feed(
    source: str | os.PathLike[str],
    settings: JobSettings,
    protocol: str | None,
    channel: str | None,
    stop_at_end: bool,
    timeout_s: float | None,
    most_bytes: int,
) -> Feed:
    """Return what gives the frames of a source.

    Raises
    ------
    HitfinderError
        If it is none.
    """
    if "://" in os.fspath(source):
        return StreamFeed(os.fspath(source), protocol, channel, most_bytes)
    if protocol or channel:
        raise ConfigError("--protocol and --channel are for tcp:// addresses", os.fspath(source))
    end = timeout_s if timeout_s is not None else (END_OF_FILES_S if stop_at_end else None)
    return FilesFeed(Path(source), settings.reader, end)


def _next_series(feed: Feed, source: str, timeout_s: float | None, n_done: int) -> Series | None:
    """Wait for a series; None if none came in time, though there were some before.

    Raises
    ------
    HitfinderError
        If nothing came at all.
    """
    began = said = time.monotonic()
    while (series := feed.next_series()) is None:
        now = time.monotonic()
        quiet = now - max(began, feed.heard_s or 0)
        if timeout_s is not None and quiet > timeout_s:
            if n_done:
                return None
            what = f"nothing came for {timeout_s:g} s; so far: {feed.heard}"
            raise HitfinderError(what, source, "Is the address right, and the stream enabled?")
        if now - said > SAY_AFTER_S and quiet > SAY_AFTER_S:
            said = now
            log.warning("%s: nothing came for %.0f s; so far: %s", source, quiet, feed.heard)
        time.sleep(_LOOK_AGAIN_S)
    return series


def _begun(
    place: Path,
    source: str,
    feed: Feed,
    series: Series,
    settings: JobSettings,
    options: LiveSettings,
    overwrite: bool,
    alone: bool,
) -> SeriesRun | None:
    """Begin the run of a series; None if it has no frame that can be read.

    Raises
    ------
    HitfinderError
        If it cannot begin, and it is the only one.
    """
    first: Any = None
    while (first := series.peek()) is None and not series.ended:
        time.sleep(_LOOK_AGAIN_S)
    first = first or series.peek()
    if first is None:
        log.warning("%s has no frame that can be unpacked", series.id)
        series.drain()
        return None
    try:
        description = feed.describe(series, first)
        return SeriesRun(place, source, feed, series, description, settings, options, overwrite)
    except GeometryError as error:
        series.drain()
        if alone:
            raise
        log.warning("%s is passed over: %s", series.id, error)
        return None


def _free(folder: Path) -> Path:
    """Return the folder, or one beside it if a series of that number is there already."""
    number, place = 1, folder
    while place.exists():
        number += 1
        place = folder.with_name(f"{folder.name}-{number}")
    return place
