"""`hitfinder simulate`: labelled frames of a crystal in a beam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hitfinder.cli.cluster import chosen_executor, cluster_options
from hitfinder.cli.options import FINITE

EPILOG = """\b
A parameter marked (v) may be a number, or be drawn anew for every frame:
  1e8..3e8                uniform between the two
  loguniform:1e7,3e8      uniform in the logarithm
  normal:3e8,3e7          mean and standard deviation
  lognormal:3e8,0.1       median and standard deviation of the logarithm
  choice:6000,7000,8000   one of these

\b
Presets (--preset); options and --config change single values:
  single-shot       one pulse: few photons; flux, water, energy, position vary
  integrated        the background of 2,000 pulses under the spots of one
  extreme-low-flux  the same with Bragg photons scaled down 10 to 1,000 times
  report            the fixed settings of the CXLS report

\b
Examples:
  hitfinder simulate --out train --n 1000
  hitfinder simulate --out set3 --preset report --photon-energy-ev 8000 --n 100
  hitfinder simulate --out lyso --structure lysozyme.pdb --flux 1e9..1e11 \\
      --detector eiger2-x-1m --set beam.divergence_mrad=0.5 --seed 7

\b
What is written to the folder:
  frames_master.h5, frames_data_*.h5  the frames, as an Eiger writes them
  truth.parquet                       every spot
  shots.parquet, crystals.parquet     every frame and crystal: what was drawn
  frames.geom, settings.toml          geometry for CrystFEL; settings for --config

Exit codes: 0 done; 2 wrong usage or bad input; 70 an error in
hitfinder, please report it; 130 interrupted.
"""

_VALUES = {
    "photon_energy_ev": ("EV", "Photon energy, in eV (v)."),
    "camera_length_m": ("M", "Sample to detector, in m (v)."),
    "flux": ("PHOTONS", "Photons per pulse (v)."),
    "bandwidth": ("SHARE", "Relative bandwidth (v)."),
    "crystal_size_um": ("UM", "Edge of the crystal, in µm (v)."),
    "mosaicity_deg": ("DEG", "Mosaicity, in degrees (v)."),
    "water_um": ("UM", "Thickness of water, in µm (v)."),
    "background_shots": ("N", "Pulses whose background is summed (v)."),
    "bragg_scale": ("FACTOR", "Factor on Bragg photons (v)."),
}
"""Option -> what its value is called, and its help: settings that may be drawn."""


def experiment_options(command: Any) -> Any:
    """Add the options that describe an experiment, and where they are read from."""
    values = [
        click.option(f"--{name.replace('_', '-')}", name, metavar=metavar, help=text)
        for name, (metavar, text) in _VALUES.items()
    ]
    for option in reversed(
        (
            click.option(
                "--preset", metavar="NAME", help="Settings to start from.  [default: single-shot]"
            ),
            click.option("-c", "--config", "config_file", metavar="FILE", help="Settings in TOML."),
            click.option(
                "--detector", metavar="NAME|GEOM", help="Known detector, or a CrystFEL .geom file."
            ),
            click.option(
                "--structure",
                metavar="FILE",
                help="PDB, CIF, MTZ or .hkl; packaged 1IC6 if not given.",
            ),
            click.option("--column", metavar="LABEL", help="Column of the MTZ."),
            click.option(
                "--cell", metavar="A,B,C[,AL,BE,GA]", help="Unit cell instead of the structure's."
            ),
            click.option("--space-group", metavar="NAME", help="Space group, for a .hkl list."),
            click.option(
                "--spectrum", metavar="NAME|FILE", help="tophat, gaussian, two-colour, sase, ..."
            ),
            *values,
            click.option(
                "--blank-fraction", type=FINITE, metavar="SHARE", help="Frames without a crystal."
            ),
            click.option(
                "--orientations",
                metavar="FILE",
                help="CSV of reciprocal axes (astar_x ... cstar_z, in 1/m).",
            ),
            click.option("--seed", type=int, metavar="N", help="Fixes every frame.  [default: 0]"),
            click.option(
                "--set",
                "settings_given",
                multiple=True,
                metavar="KEY=VALUE",
                help="Any setting, e.g. beam.tail=1.",
            ),
        )
    ):
        command = option(command)
    return command


@click.command(epilog=EPILOG)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder to write to.", metavar="DIR"
)
@click.option("--n", type=click.IntRange(1), metavar="N", help="Frames.  [default: 100]")
@experiment_options
@click.option("--no-noise", is_flag=True, help="Write expected photons (float32), not counts.")
@click.option("-j", "--workers", type=click.IntRange(1), metavar="N", help="Processes; all cores.")
@cluster_options
@click.option("--overwrite", is_flag=True, help="Replace the simulation in the folder.")
@click.option("--show-settings", is_flag=True, help="Print all settings as TOML and stop.")
def simulate(
    out: Path | None,
    n: int | None,
    preset: str | None,
    config_file: str | None,
    settings_given: tuple[str, ...],
    workers: int | None,
    cluster: str | None,
    cluster_given: tuple[str, ...],
    overwrite: bool,
    show_settings: bool,
    **given: Any,
) -> None:
    """Simulate frames with known Bragg peaks, water background and counting noise."""
    changes = changes_of(settings_given, given)
    if show_settings:
        from hitfinder.config import to_toml
        from hitfinder.simulation.presets import dotted, load_settings

        click.echo(to_toml(load_settings(config_file, preset, dotted(changes))), nl=False)
        return
    if out is None:
        raise click.UsageError("Missing option '-o' / '--out'.")
    from hitfinder.simulation import simulation

    with chosen_executor(cluster, cluster_given, workers) as executor:
        made = simulation.simulate(
            out,
            n,
            preset=preset,
            settings=config_file,
            workers=workers,
            executor=executor,
            overwrite=overwrite,
            **changes,
        )
    click.echo(f"{made.n_frames} frames: {made.master}")


def changes_of(settings_given: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that the options of an experiment give; --set comes last."""
    import tomllib

    from hitfinder.errors import ConfigError

    changes = {name: value for name, value in given.items() if value is not None}
    if changes.pop("no_noise", False):
        changes["noise"] = False
    for text in settings_given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{text!r} is not KEY=VALUE", "--set")
        try:
            changes[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except ValueError:
            changes[key.strip()] = value.strip()
    return changes
