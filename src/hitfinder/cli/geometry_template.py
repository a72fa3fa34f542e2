"""`hitfinder geometry-template`: a CrystFEL geometry file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hitfinder.cli.options import FINITE, POSITIVE

if TYPE_CHECKING:
    from hitfinder.experiment.settings import GeometrySettings
    from hitfinder.export.template import Template

EPILOG = """\b
Examples:
  hitfinder geometry-template run7_master.h5 -o my.geom
  hitfinder geometry-template frames.h5 --pixel-size-um 55 -o my.geom
  hitfinder geometry-template --detector eiger2-x-4m -o eiger.geom

\b
Then edit the lines with CHANGE, and:
  hitfinder info frames.h5 --geometry my.geom
  hitfinder run frames.h5 --geometry my.geom --out found
"""


@click.command(epilog=EPILOG)
@click.argument("frames", required=False)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="File to write (.geom)."
)
@click.option("--detector", metavar="NAME", help="Known detector, e.g. eiger2-x-4m.")
@click.option("--pixel-size-um", type=POSITIVE, metavar="UM", help="Pixel size, in µm.")
@click.option("--photon-energy-ev", type=POSITIVE, metavar="EV", help="Photon energy, in eV.")
@click.option("--camera-length-m", type=POSITIVE, metavar="M", help="Sample to detector, in m.")
@click.option(
    "--beam-center",
    type=FINITE,
    nargs=2,
    metavar="FS SS",
    help="Where the beam meets the frame, in pixels; the first pixel's centre is 0.5.",
)
@click.option("--dataset", metavar="PATH", help="Where an HDF5 file keeps its frames.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def geometry_template(
    frames: str | None,
    out: Path,
    detector: str | None,
    pixel_size_um: float | None,
    photon_energy_ev: float | None,
    camera_length_m: float | None,
    beam_center: tuple[float, float] | None,
    dataset: str | None,
    overwrite: bool,
) -> None:
    """Write a CrystFEL geometry file to start from, for the frames of FRAMES or a known detector.

    What the frames' file or the options tell is filled in: size of the frame, pixel, gaps, beam
    centre, photon energy, camera length, and where data and mask are. The rest is marked.
    """
    from hitfinder import config
    from hitfinder.experiment.settings import GeometrySettings

    if frames is None and detector is None:
        raise click.UsageError("name a file of frames, or a detector with --detector")
    settings = config.override(
        GeometrySettings(),
        detector=detector,
        pixel_size_um=pixel_size_um,
        photon_energy_ev=photon_energy_ev,
        camera_length_m=camera_length_m,
        beam_center=beam_center,
    )
    template = _of_frames(frames, dataset, settings) if frames else _of_detector(settings)
    template.write(out, overwrite)
    from hitfinder.export.template import CHANGE

    left = template.text().count(CHANGE) - 1
    click.echo(f"{out}: {left} lines to look at, marked {CHANGE}")


def _of_detector(settings: GeometrySettings) -> Template:
    from hitfinder.export.template import Template
    from hitfinder.geometry.named import named_detector

    found = named_detector(settings.detector or "")
    center = settings.beam_center
    placed = found if center is None else found.with_beam_center(*center)
    return Template(placed, settings.photon_energy_ev, settings.camera_length_m, center is not None)


def _of_frames(frames: str, dataset: str | None, settings: GeometrySettings) -> Template:
    """Fill in what the frames' file tells."""
    from hitfinder.experiment.placing import detector_of
    from hitfinder.export.template import Template
    from hitfinder.io.open import open as open_frames
    from hitfinder.io.stack import Hdf5Source

    with open_frames(frames, dataset=dataset) as source:
        said = source.metadata
        detector, _ = detector_of(settings, source)
        center = settings.beam_center or said.beam_center
        if center is not None and (settings.beam_center or detector.panels != said.panels):
            detector = detector.with_beam_center(*center)
        place = source.h5_location(0)
        stored = source if isinstance(source, Hdf5Source) else None
        alone = stored is None or (place is not None and place[2] < 0)
        return Template(
            detector,
            settings.photon_energy_ev or said.photon_energy_ev,
            settings.camera_length_m or said.camera_length_m,
            center is not None,
            (stored.data_path if stored else None) or "/entry/data/data",
            ("ss", "fs") if alone else ("%", "ss", "fs"),
            stored.mask_path if stored else None,
            stored.mask_good_bits if stored else 0,
            are_photons=source.dtype.kind != "f",
        )
