"""`hitfinder run`: frames in, hits and peaks out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitfinder.cli.cluster import chosen_executor, cluster_options, options_of
from hitfinder.cli.index import tell_indexed
from hitfinder.cli.options import (
    FINITE,
    POSITIVE,
    FiniteRange,
    bandwidth_option,
    reader_option,
    refuse,
)
from hitfinder.errors import harmless
from hitfinder.lazy import import_all

if TYPE_CHECKING:
    from hitfinder.executors.contract import Executor
    from hitfinder.job.indexing.indexed import IndexedRun
    from hitfinder.results.run import Run

EPILOG = """\b
Examples:
  hitfinder run run7_master.h5 --out run7
  hitfinder run 'scan*/*.cxi' --geometry jf.geom --mask bad.h5 --out scan
  hitfinder run frames.lst --detector eiger2-x-4m --photon-energy-ev 6000 \\
      --camera-length-m 0.15 --beam-center 1034.5 1081 --out frames
  hitfinder run run7_master.h5 --frames ::100 --out look
  hitfinder run run7_master.h5 --structure 1ic6.pdb --out run7

\b
What is written to the folder:
  frames.parquet, peaks.parquet  every frame, every peak (--csv: as CSV too)
  hits.lst, hits.cxi, hits.geom  the hits, for CrystFEL
  report.html, run.json          what was found, how, and with what settings

\b
Hand the hits to CrystFEL:
  realpath DIR/hits.cxi > cxi.lst
  indexamajig -i cxi.lst -g DIR/hits.geom --peaks=cxi -o out.stream

Exit codes: 0 done; 1 done, but some frames could not be read; 2 wrong usage or
bad input; 70 an error in hitfinder, please report it; 130 interrupted.
"""

WORKER_IMPORTS = ("hitfinder.job.ready", "hitfinder.network.finder", "onnxruntime")
"""What a worker of a run imports before it is told of the run: the first, others for its usual
finder."""

MOST_AHEAD = 2
"""Workers that start before it is known how many frames there are; few frames need no more."""

NOT_FOR_PIPELINE = ("finder", "model", "false_hits", "false_peaks", "peak_probability")
"""Options that mean nothing to the study's networks."""


def geometry_options(command: Any) -> Any:
    """Add the options that say where the pixels are."""
    for option in reversed(
        (
            click.option(
                "-g",
                "--geometry",
                metavar="FILE",
                help="Geometry file of CrystFEL, pyFAI, DIALS or XDS.",
            ),
            click.option("--detector", metavar="NAME", help="Known detector, e.g. eiger2-x-4m."),
            click.option(
                "--photon-energy-ev", type=POSITIVE, metavar="EV", help="Photon energy, in eV."
            ),
            click.option(
                "--camera-length-m",
                type=POSITIVE,
                metavar="M",
                help="Distance from sample to detector, in m.",
            ),
            click.option(
                "--beam-center",
                type=FINITE,
                nargs=2,
                metavar="FS SS",
                help="Where the beam meets the frame, in pixels; the first pixel's centre is 0.5.",
            ),
            click.option(
                "--pixel-size-um",
                type=POSITIVE,
                metavar="UM",
                help="Pixel size, in µm, of one flat panel that is not known otherwise.",
            ),
            click.option(
                "--adu-per-photon",
                type=POSITIVE,
                metavar="ADU",
                help="Stored value of one photon.",
            ),
            click.option(
                "--mask",
                metavar="FILE",
                help="Pixels to ignore (non-zero), besides others; good:FILE if these are the "
                "good ones.",
            ),
        )
    ):
        command = option(command)
    return command


def finder_options(command: Any) -> Any:
    """Add the options that say what a peak and a hit is."""
    for option in reversed(
        (
            click.option(
                "--false-hits",
                type=FiniteRange(0, 1, min_open=True, max_open=True),
                metavar="SHARE",
                help="Share of blank frames that may be called hits.  [default: 0.01]",
            ),
            click.option(
                "--false-peaks",
                type=FiniteRange(0, 1, min_open=True, max_open=True),
                metavar="SHARE",
                help="False peaks allowed per blank frame; with --finder likelihood also their"
                " share in any frame.  [default: 0.02]",
            ),
            click.option(
                "--peak-probability",
                type=FiniteRange(0, 1, min_open=True, max_open=True),
                metavar="P",
                help="Probability from which the network's peaks are kept in hits.  [default: 0.3]",
            ),
            click.option(
                "--hit-threshold",
                type=FINITE,
                metavar="SCORE",
                help="Least score of a hit.  [default: what --false-hits needs]",
            ),
            click.option(
                "--min-peaks",
                type=click.IntRange(0),
                metavar="N",
                help="Least number of peaks of a hit.  [default: 0]",
            ),
            click.option(
                "--finder",
                metavar="NAME",
                help="Judge candidate peaks by a trained 'network', or by 'likelihood' alone; or by"
                " a finder of 'hitfinder plugins', or your own as module:Class."
                "  [default: network]",
            ),
            click.option(
                "--finder-option",
                "finder_options",
                multiple=True,
                metavar="KEY=VALUE",
                help="Tell the finder something that it takes besides; once for each.",
            ),
            click.option(
                "--model",
                metavar="NAME",
                help="Trained network: a name of 'hitfinder models list', or a folder.",
            ),
        )
    ):
        command = option(command)
    return command


def _pipeline_options(networks: Iterable[str]) -> dict[str, str]:
    """Return the options of the study's finder: a trained network for each attribute."""
    from hitfinder.errors import ConfigError
    from hitfinder.study.networks.trained import load

    options: dict[str, str] = {}
    for path in networks:
        attribute = load(path).config.attribute
        if attribute in options:
            raise ConfigError(f"two networks are for {attribute}", path)
        options[attribute] = path
    return options


RESUMED = "interrupted: the same command with --resume completes the run"


def tell(run: Run, incomplete: str = RESUMED) -> None:
    """Print how a run ended; what is to be said if that was before its end."""
    from hitfinder.results.hits import FRAMES

    page = run.report if run.report.exists() else run.folder / FRAMES
    if run.was_complete:
        click.echo(f"complete already: {page}")
        return
    click.echo(f"{run.summary}\n{page.stem}: {page}")
    if run.verdict:
        click.echo(harmless(run.verdict))
    if not run.summary.complete:
        click.echo(incomplete, err=True)
    elif run.summary.unreadable:
        where = "the report, 'Problems'" if page == run.report else "their 'status'"
        click.echo(f"some frames could not be processed: see {where}", err=True)


def exit_code(run: Run) -> int:
    """Return what the command ends with."""
    if not run.summary.complete:
        return 130
    return 1 if run.summary.unreadable and not run.was_complete else 0


def _workers_ahead(
    inputs: Iterable[str], cluster: str | None, given: Mapping[str, Any]
) -> AbstractContextManager[None]:
    """Have workers start before this process imports what runs take.

    Not where a cluster works, nor where inputs are missing and the run is likely to end at once.
    """
    from hitfinder.executors.processes import available_cores, started_ahead

    if cluster is not None or not all(map(os.path.exists, inputs)):
        return contextlib.nullcontext()
    modules = WORKER_IMPORTS if given["finder"] in (None, "network") else WORKER_IMPORTS[:1]
    return started_ahead(min(given["workers"] or available_cores(), MOST_AHEAD), modules)


def _searched(
    run: Run, executor: Executor | None, given: dict[str, Any], crystal: dict[str, Any]
) -> tuple[Run, IndexedRun | None, int]:
    """Search a run that is done for a known crystal; return what it is then, and an exit code."""
    from hitfinder.cli.index import exit_code as index_exit_code
    from hitfinder.errors import HitfinderError
    from hitfinder.job.indexing.index import search_finished
    from hitfinder.results.run import Run as FinishedRun

    more = {"workers": given["workers"], "csv": given["csv"], "executor": executor}
    try:
        found = search_finished(run, **crystal, **more)
    except HitfinderError as error:
        click.echo(f"not searched for the crystal: {error}", err=True)
        return run, None, 1
    if found is None:
        return run, None, 0
    return FinishedRun(run.folder), found, index_exit_code(found)


def settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a job as options of the command line say them."""
    options = {name: value for name, value in given.items() if name != "no_estimate"}
    options["estimate"] = False if given["no_estimate"] else None
    options["finder_options"] = options_of(given["finder_options"], "--finder-option")
    return options | {
        name: given[name] or None
        for name in ("outputs", "csv", "copy_frames", "all_peaks")
        if name in given
    }


@click.command(epilog=EPILOG)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for the results."
)
@reader_option
@geometry_options
@finder_options
@click.option(
    "--frames",
    metavar="LIST",
    help="Take these frames only: numbers and START:STOP:STEP as in Python, with commas between."
    "  [default: all]",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Take no more frames than this, the first.  [default: all]",
)
@click.option("-j", "--workers", type=click.IntRange(1), metavar="N", help="Processes; all cores.")
@cluster_options
@click.option(
    "--no-estimate", is_flag=True, help="Do not estimate photon energy and camera length."
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="NAME",
    help="Write this: a name of 'hitfinder plugins', or your own as module:Class; once for each."
    " The tables are written always.  [default: usual, which are tables, lst, cxi and report]",
)
@click.option(
    "--structure",
    metavar="FILE",
    help="PDB, mmCIF, MTZ or .hkl file of the crystal: search hits and near misses for it in all"
    " pixels, and let both looks decide on hits. See 'hitfinder index'.",
)
@click.option(
    "--cell",
    metavar="CELL",
    help="Its unit cell, as for 'hitfinder index'; enough without --structure.",
)
@bandwidth_option(", for that search", may_be_zero=False)
@click.option("--csv", is_flag=True, help="Write the tables as CSV too.")
@click.option("--copy-frames", is_flag=True, help="Copy the hits into hits.cxi, do not link them.")
@click.option("--all-peaks", is_flag=True, help="Put doubtful peaks into hits.cxi too.")
@click.option("-c", "--config", "config_file", metavar="FILE", help="Settings in TOML.")
@click.option("--resume", is_flag=True, help="Go on with the unfinished run in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace the results in the folder.")
@click.option(
    "--pipeline",
    multiple=True,
    metavar="MODEL",
    help="Judge by trained networks instead, as the CXLS report did; once for each network. Short"
    " for --finder study --finder-option ATTRIBUTE=MODEL.",
)
@click.pass_context
def run(
    ctx: click.Context,
    inputs: tuple[str, ...],
    out: Path,
    config_file: str | None,
    resume: bool,
    overwrite: bool,
    pipeline: tuple[str, ...],
    structure: str | None,
    cell: str | None,
    bandwidth: float | None,
    cluster: str | None,
    cluster_given: tuple[str, ...],
    **given: Any,
) -> None:
    """Find hits and Bragg peaks in the frames of INPUT.

    INPUT is any number of files (NXmx or Eiger master, CXI, HDF5, CBF, NumPy), folders, patterns
    or CrystFEL lists. Where no option says otherwise, detector, energy, camera length and beam
    centre are taken from the files.
    """
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other")
    if pipeline:
        refuse(ctx, NOT_FOR_PIPELINE, "--pipeline")
        named = [f"{key}={path}" for key, path in _pipeline_options(pipeline).items()]
        given["finder"], given["finder_options"] = "study", (*named, *given["finder_options"])
    known = structure is not None or cell is not None
    code, found = 0, None
    with (
        _workers_ahead(inputs, cluster, given),
        chosen_executor(cluster, cluster_given, given["workers"]) as executor,
    ):
        import_all(["hitfinder.job.run"])
        from hitfinder.job.run import run as run_job

        if known:
            from hitfinder.job.indexing.index import known_of

            known_of(cell, structure)  # an error of theirs comes before the frames are read
        result = run_job(
            *(inputs, out, config_file),
            resume=resume,
            overwrite=overwrite,
            executor=executor,
            **settings_of(given),
        )
        if known:
            crystal = {"cell": cell, "structure": structure, "bandwidth": bandwidth}
            result, found, code = _searched(result, executor, given, crystal)
    tell(result)
    if found is not None:
        tell_indexed(found, True)
    ctx.exit(code or exit_code(result))
