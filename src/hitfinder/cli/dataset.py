"""`hitfinder dataset`: trees of labelled frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hitfinder.cli.cluster import chosen_executor, cluster_options
from hitfinder.cli.options import FINITE, FiniteRange
from hitfinder.cli.selection import numbers, selection_from, selection_options

if TYPE_CHECKING:
    from hitfinder.study.dataset.layout import Setting
    from hitfinder.study.dataset.recipe import Recipe

EPILOG = """\b
Examples:
  hitfinder dataset build --out images/ --frames 100
  hitfinder dataset build --out images/ --frames 1000 --protocol paper --percent-empty 20
  hitfinder dataset build --out wide/ --matrix range --photon-energy-ev 5000,12000 \\
      --camera-length-m 0.1,0.5 --frames 5000
  hitfinder dataset import lab/ --out images/ --protocol paper
  hitfinder dataset validate images/
"""


@click.group(epilog=EPILOG)
def dataset() -> None:
    """Build, import, choose, show, check and split trees of labelled frames."""


def _making(command: Any) -> Any:
    """Add the options that say how frames are made."""
    for option in reversed(
        (
            click.option("--out", required=True, metavar="DIR", help="Folder for the tree."),
            click.option(
                "--percent-empty",
                type=FiniteRange(0),
                default=100.0,
                show_default=True,
                metavar="P",
                help="Frames without peaks, in percent of those with peaks.",
            ),
            click.option(
                "--protocol",
                type=click.Choice(["realistic", "paper"]),
                default="realistic",
                show_default=True,
                help="Fresh noise and varied shots, or the report's one water image a setting.",
            ),
            click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
            click.option(
                "--detector", default="eiger-4m-report", show_default=True, metavar="NAME"
            ),
            click.option(
                "--background-shots",
                type=FiniteRange(0),
                default=2000.0,
                show_default=True,
                metavar="N",
                help="Shots of water under one shot of peaks; 1 is a single shot.",
            ),
            click.option(
                "--frames-per-file",
                type=click.IntRange(1),
                default=100,
                show_default=True,
                metavar="N",
                help="1 writes single-frame files as in the report.",
            ),
            click.option(
                "--label-photons", type=FINITE, default=3.0, show_default=True, metavar="N"
            ),
            click.option(
                "--workers",
                type=click.IntRange(1),
                metavar="N",
                help="Processes.  [default: 1]",
            ),
            cluster_options,
        )
    ):
        command = option(command)
    return command


def _matrix(kind: str, energies: str | None, lengths: str | None) -> tuple[Setting, ...]:
    from hitfinder.errors import ConfigError
    from hitfinder.study.dataset import layout

    e, d = numbers(energies, "--photon-energy-ev"), numbers(lengths, "--camera-length-m")
    if kind == "report":
        if e or d:
            raise ConfigError("the report's matrix has its own values", hint="Use --matrix grid.")
        return layout.report_matrix()
    if not (e and d):
        raise ConfigError(f"a {kind} needs --photon-energy-ev and --camera-length-m")
    if kind == "grid":
        return layout.grid(e, d)
    if len(e) != 2 or len(d) != 2:
        raise ConfigError("a range needs two energies and two camera lengths")
    return layout.continuous((e[0], e[1]), (d[0], d[1]))


def _recipe(given: dict[str, Any], **more: Any) -> Recipe:
    from hitfinder.errors import ConfigError
    from hitfinder.study.dataset.recipe import Conditions, Recipe

    same = ("percent_empty", "protocol", "seed", "detector", "frames_per_file", "label_photons")
    try:
        conditions = Conditions(background_shots=given["background_shots"])
        return Recipe(**{name: given[name] for name in same}, conditions=conditions, **more)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _build(given: dict[str, Any], settings: tuple[Setting, ...], maker: Any) -> None:
    from hitfinder.progress import counting
    from hitfinder.study.dataset.build import build as run

    recipe = maker.recipe
    total = sum(recipe.n_frames(setting) for setting in settings)
    workers = given["workers"]
    with (
        chosen_executor(given["cluster"], given["cluster_given"], workers) as executor,
        counting("frames", total) as progress,
    ):
        made = run(
            *(given["out"], settings, recipe, maker),
            workers=workers or 1,
            executor=executor,
            progress=progress,
        )
    click.echo(f"{total} frames in {len(made.files)} files: {given['out']}")


@dataset.command()
@_making
@click.option("--frames", type=click.IntRange(1), required=True, help="With peaks, per setting.")
@click.option(
    "--matrix",
    type=click.Choice(["report", "grid", "range"]),
    default="report",
    show_default=True,
    help="The report's nine settings, a grid of your own, or a range.",
)
@click.option("--photon-energy-ev", metavar="LIST", help="For a grid or a range.")
@click.option("--camera-length-m", metavar="LIST", help="For a grid or a range.")
@click.option("--bin", type=click.IntRange(1), default=1, show_default=True, help="Pixels to join.")
@click.option(
    "--bragg-scale",
    default="1",
    show_default=True,
    metavar="LOW[,HIGH]",
    help="Factor on the Bragg photons; 0.001,0.1 is the report's extremely low flux.",
)
@click.option(
    "--least-spot-photons",
    type=FiniteRange(0),
    default=8.0,
    show_default=True,
    metavar="N",
    help="Expected photons of a frame's brightest spot, before --bragg-scale; 0 takes any crystal.",
)
def build(**given: Any) -> None:
    """Simulate frames into a tree. A build that was cut short goes on where it stopped."""
    from hitfinder.errors import ConfigError
    from hitfinder.study.dataset.maker import SimulatedMaker

    settings = _matrix(given["matrix"], given["photon_energy_ev"], given["camera_length_m"])
    scale = numbers(given["bragg_scale"], "--bragg-scale")
    if len(scale) not in (1, 2):
        raise ConfigError("one or two numbers are needed", "--bragg-scale")
    recipe = _recipe(
        given,
        bragg_scale=(scale[0], scale[-1]),
        **{name: given[name] for name in ("frames", "bin", "least_spot_photons")},
    )
    if recipe.protocol == "paper" and given["matrix"] == "range":
        raise ConfigError("one water image cannot serve a range of settings", "--protocol paper")
    _build(given, settings, SimulatedMaker(recipe))


@dataset.command("import")
@click.argument("source", metavar="DIR")
@_making
@click.option("--matrix", type=click.Choice(["report", "grid"]), default="report")
@click.option("--photon-energy-ev", metavar="LIST", help="For a grid.")
@click.option("--camera-length-m", metavar="LIST", help="For a grid.")
@click.option("--setting", metavar="NN", help="Setting of files that lie in DIR itself.")
def import_(source: str, **given: Any) -> None:
    """Make a tree of Bragg-only frames in DIR: peaks/01, ... as pattern_sim's users keep them."""
    from hitfinder.study.dataset.importing import ImportedMaker, find_sources

    matrix = _matrix(given["matrix"], given["photon_energy_ev"], given["camera_length_m"])
    settings, sources = find_sources(source, matrix, given["setting"])
    recipe = _recipe(given, frames=max(s.n_frames for s in sources.values()))
    _build(given, settings, ImportedMaker(recipe, sources))


@dataset.command()
@click.argument("tree", metavar="TREE")
@click.option("--out", required=True, metavar="DIR", help="Folder for the new tree of links.")
@selection_options
def select(tree: str, out: str, **given: Any) -> None:
    """Make a tree that links to some settings of TREE."""
    from hitfinder.study.dataset.select import link_selection
    from hitfinder.study.dataset.select import select as choose
    from hitfinder.study.dataset.tree import open_tree

    chosen = choose(open_tree(tree, ["peaks_water_overlay"]), selection_from(**given))
    names = link_selection(chosen, out)
    click.echo(f"{len(chosen)} frames of settings {', '.join(names)}: {out}")


@dataset.command()
@click.argument("tree", metavar="TREE")
@click.option("--png", metavar="FILE", help="Draw a frame of each setting.")
def show(tree: str, png: str | None) -> None:
    """Count what each setting of TREE holds."""
    from hitfinder.study.dataset.layout import FOLDERS
    from hitfinder.study.dataset.show import contact_sheet, holdings
    from hitfinder.study.dataset.tree import open_tree

    head = ("setting", "energy (eV)", "length (m)", *FOLDERS, "empty", "unreadable", "MB")
    rows = [
        (
            found.setting,
            _range(found.photon_energies_ev),
            _range(found.camera_lengths_m),
            *(str(found.frames[folder]) for folder in FOLDERS),
            str(found.empty),
            str(found.unreadable),
            f"{found.n_bytes / 1e6:.1f}",
        )
        for found in holdings(tree)
    ]
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if png:
        contact_sheet(open_tree(tree, ["peaks_water_overlay"]), png)
        click.echo(f"picture: {png}")


def _range(ends: tuple[float, float]) -> str:
    return "-".join(f"{value:g}" for value in dict.fromkeys(ends))


@dataset.command()
@click.argument("tree", metavar="TREE")
@click.option("--quick", is_flag=True, help="Look at attributes only, not at every frame.")
def validate(tree: str, quick: bool) -> None:
    """Check every file and frame of TREE; exit 1 if anything is wrong."""
    from pathlib import Path

    from hitfinder.errors import SourceError
    from hitfinder.study.dataset.validate import validate as check

    if not Path(tree).is_dir():
        raise SourceError("missing-file", "there is no such folder", tree)
    n_faults = 0
    for fault in check(tree, contents=not quick):
        click.echo(str(fault))
        n_faults += 1
    click.echo(f"{n_faults} faults" if n_faults else "no faults")
    if n_faults:
        raise SystemExit(1)


@dataset.command()
@click.argument("tree", metavar="TREE")
@click.option(
    "--test",
    "test_fraction",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    metavar="SHARE",
    help="Part of the frames to keep for testing.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a split that is there.")
def split(tree: str, test_fraction: float, seed: int, overwrite: bool) -> None:
    """Divide TREE into a training and a test part, alike in settings and empties."""
    from hitfinder.study.dataset.split import read_split
    from hitfinder.study.dataset.split import split as divide
    from hitfinder.study.dataset.tree import open_tree

    whole = open_tree(tree, ["peaks_water_overlay"])
    path = divide(whole, test_fraction, seed, overwrite=overwrite)
    sizes = ", ".join(f"{len(part)} {name}" for name, part in read_split(whole).items())
    click.echo(f"{sizes}: {path}")
