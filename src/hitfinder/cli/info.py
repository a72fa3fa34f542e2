"""`hitfinder info`: what is in a file, and what is wrong with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from hitfinder.cli.options import reader_option
from hitfinder.errors import HitfinderError, harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hitfinder.geometry.crystfel import GeomFile
    from hitfinder.geometry.foreign.described import DescribedDetector
    from hitfinder.io.source import FrameSource
    from hitfinder.io.summary import Told

EPILOG = """\b
Examples:
  hitfinder info run7_master.h5
  hitfinder info run7/ frames.lst
  hitfinder info --json run7_master.h5 | jq .[0].metadata

\b
Exit codes: 0 every frame looks readable; 1 something is wrong (the output says
what); 2 wrong usage.
"""

_UNSHOWN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

UNREADABLE = "unreadable"
"""Format of an input that cannot be opened."""

SHOWN = 12
"""Linked files, inputs and problems listed; JSON has them all."""


@click.command(epilog=EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: a list, one entry a FILE.")
@click.option("--dataset", metavar="PATH", help="Where an HDF5 file keeps its frames.")
@click.option(
    "-g", "--geometry", metavar="FILE", help="Geometry file of CrystFEL, pyFAI, DIALS or XDS."
)
@reader_option
@click.option(
    "--frames",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    metavar="N",
    help="Number of frames to look at.",
)
@click.pass_context
def info(
    ctx: click.Context,
    files: tuple[str, ...],
    as_json: bool,
    dataset: str | None,
    geometry: str | None,
    reader: str | None,
    frames: int,
) -> None:
    """Say what is in a file, and what is wrong with it.

    FILE is anything that `hitfinder run` takes: a master, CXI, HDF5, CBF or NumPy file, a folder, a
    pattern or a list.
    """
    from hitfinder.io.open import open_source
    from hitfinder.io.summary import summarise

    geom = None
    if geometry is not None:
        from hitfinder.geometry.files import read_geometry

        geom = read_geometry(geometry)
    layout, found = geom.layout if geom else None, []
    for file in files:
        with open_source(file, layout=layout, dataset=dataset, reader=reader) as source:
            told, failures = _told_by(geom, source)
            found.append(summarise(source, file, frames, told, failures))
    if as_json:
        click.echo(_json(found))
    else:
        _show(found)
    ctx.exit(1 if any(entry["problems"] for entry in found) else 0)


def _told_by(
    geom: GeomFile | DescribedDetector | None, source: FrameSource
) -> tuple[Told | None, list[HitfinderError]]:
    """Return what is known beyond what the files say, or why a geometry file cannot be used."""
    if not source.n_readable:
        return None, []
    from hitfinder.experiment.told import told_by

    try:
        return told_by(geom, source), []
    except HitfinderError as error:
        return None, [error]


def _json(found: list[dict[str, Any]]) -> str:
    """Write JSON, which has no NaN: null stands for it."""
    import json
    import math

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(inner) for inner in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    text = json.dumps(plain(found), indent=2, ensure_ascii=False, allow_nan=False)
    # What JSON leaves as it is may be obeyed by a terminal, or not be text.
    return _UNSHOWN.sub(lambda sign: json.dumps(sign[0])[1:-1], text)


def _show(found: list[dict[str, Any]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for number, entry in enumerate(map(_harmless, found)):
        if number:
            console.print()
        console.print(_facts(entry))
        _show_files(console, entry)
        if entry["looks"]:
            console.print(_looks(entry))
        for title, style, lines in (
            ("Problems", "red", [problem["text"] for problem in entry["problems"]]),
            ("Notes", "yellow", entry["notes"]),
        ):
            if lines:
                console.print(f"[{style}]{title}[/]")
            for line in _shortened(lines):
                console.print(f"  {line}", markup=False, soft_wrap=True)


def _harmless(value: Any) -> Any:
    """Spell out control characters in all texts."""
    if isinstance(value, dict):
        return {_harmless(key): _harmless(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_harmless(inner) for inner in value]
    return harmless(value) if isinstance(value, str) else value


def _facts(entry: dict[str, Any]) -> Table:
    """Lay out what holds for all frames."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(entry):
        table.add_row(name, Text(value))
    return table


def _rows(entry: dict[str, Any]) -> list[tuple[str, str]]:
    said, rows = entry["metadata"], [("input", entry["input"]), ("format", entry["format"])]
    if entry["format"] == UNREADABLE:
        rows[1:] = [("frames", "none that can be read")]
        return rows
    rows.append(("reader", entry["reader"] or "none"))
    unreadable = entry["frames"] - entry["readable"]
    frames = f"{entry['frames']}" + (f", {unreadable} of them unreadable" if unreadable else "")
    rows.append(("frames", frames))
    if not any(entry["shape"]):
        return rows
    shape = f"{entry['shape'][0]} x {entry['shape'][1]} (ss x fs), {entry['dtype']}"
    rows.append(("frame", shape))
    rows.append(("packed", entry["compression"] or "no"))
    if entry["dataset"]:
        rows.append(("dataset", entry["dataset"]))
    guess = ", ".join(entry["detectors_of_this_shape"])
    detector, origin = said["detector"] or "not named", entry["origin"]
    energy, length, center = said["photon_energy_ev"], said["camera_length_m"], said["beam_center"]
    pixel, limit, gain = said["pixel_size_m"], said["saturation"], said["adu_per_photon"]
    where = f"fs {center[0]:.2f}, ss {center[1]:.2f}" if center else "?"
    for name, field, text in (
        ("detector", "detector", f"{detector} (of this shape: {guess})" if guess else detector),
        (
            "photon energy",
            "photon_energy_ev",
            f"{energy:.2f} eV, {said['wavelength_a']:.5f} Å" if energy else "?",
        ),
        ("camera length", "camera_length_m", f"{length:g} m" if length else "?"),
        (
            "beam centre",
            "beam_center",
            f"{where} (first pixel's centre at 0.5)" if center else where,
        ),
        ("pixel", "pixel_size_m", f"{pixel * 1e6:g} µm" if pixel else "?"),
        ("saturated from", "saturation", f"{limit:.10g} counts" if limit else "?"),
        ("masked pixels", "mask", _mask_text(entry["mask"])),
    ):
        rows.append((name, f"{text} [{origin[field]}]" if field in origin else text))
    if said["panels_placed"]:
        rows.append(("panels", f"{said['panels_placed']}, placed by the file's transformations"))
    if gain is not None:
        rows.append(("a photon is", f"{gain:g} of the stored units"))
    if entry["noise"]:
        rows.append(("read-out", entry["noise"]))
    return rows


def _mask_text(mask: dict[str, Any] | None) -> str:
    if mask is None:
        return "no mask"
    bits = [
        f"{count['pixels']} {count['meaning'] or 'of unknown meaning'} (bit {bit})"
        for bit, count in mask["bits"].items()
    ]
    return f"{mask['pixels']}" + (f": {', '.join(bits)}" if bits else "")


def _show_files(console: Console, entry: dict[str, Any]) -> None:
    """List linked files and inputs, broken ones first."""
    from rich.table import Table
    from rich.text import Text

    for title, key, last in (("Linked files", "linked_files", "status"), ("Files", "files", "")):
        files = sorted(entry[key], key=lambda file: file.get("status", "ok") == "ok")
        if not files:
            continue
        table = Table(title=f"{title} ({len(files)})", title_justify="left", box=None)
        table.add_column("path", overflow="fold")
        table.add_column("frames", justify="right")
        table.add_column("state")
        table.add_column("" if last else "reader")
        for file in files[:SHOWN]:
            state = file[last] if last else _state(file)
            style = "" if state == "ok" else "red"
            row = (Text(file["path"]), str(file["frames"]), Text(state, style))
            table.add_row(*row, file.get("reader", ""))
        if len(files) > SHOWN:
            table.add_row(f"and {len(files) - SHOWN} more", "", "")
        console.print(table)


def _state(file: dict[str, Any]) -> str:
    broken = file["frames"] - file["readable"]
    return f"{broken} unreadable" if broken else "ok"


def _looks(entry: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="Frames looked at", title_justify="left", box=None)
    for name in ("frame", "mean", "max", "zero pixels", "sum", "saturated"):
        table.add_column(name, justify="right")
    for seen in entry["looks"]:
        table.add_row(
            str(seen["frame"]),
            f"{seen['mean']:.4g}",
            f"{seen['max']:g}",
            f"{100 * seen['zero_fraction']:.2f} %",
            f"{seen['photons']:.6g}",
            str(seen["n_saturated"]),
        )
    return table


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= SHOWN:
        return lines
    return [*lines[:SHOWN], f"and {len(lines) - SHOWN} more (--json lists all)"]
