"""`hitfinder detectors`: the detectors that are known by name."""

from __future__ import annotations

import click

EPILOG = """\b
Examples:
  hitfinder detectors
  hitfinder detectors eiger
  hitfinder detectors --shape 2162 2068

\b
Other detectors: --pixel-size-um for one flat panel, or a CrystFEL geometry file
('hitfinder geometry-template' writes one to start from). With the extra
'detectors', those of pyFAI are known by pyFAI's names too.
"""

OTHERS = (
    "'hitfinder detectors' lists all. For others give --pixel-size-um for one flat panel, or "
    "--geometry FILE.geom."
)


@click.command(epilog=EPILOG)
@click.argument("word", required=False)
@click.option(
    "--shape",
    type=click.IntRange(1),
    nargs=2,
    metavar="SS FS",
    help="Only those with frames of so many rows and columns.",
)
def detectors(word: str | None, shape: tuple[int, int] | None) -> None:
    """List the detectors that are known by name, or those whose name has WORD in it."""
    from rich.console import Console
    from rich.table import Table

    from hitfinder.experiment.recognise import closest
    from hitfinder.geometry.named import detector_modules, named_detector
    from hitfinder.geometry.named import detectors as names

    known = {name: named_detector(name) for name in names()}
    wanted = (word or "").lower().replace("_", "-").replace(" ", "-")
    found = [
        name
        for name, detector in known.items()
        if wanted in name and (shape is None or detector.shape == shape)
    ]
    if not found:
        hint = OTHERS if shape is None else closest(shape)
        raise click.ClickException(f"no detector is known so. {hint}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("name", "rows x columns", "modules", "of", "gaps", "pixel"):
        table.add_column(heading)
    for name in found:
        modules, size, gap = (f"{ss} x {fs}" for ss, fs in detector_modules(name))
        rows, columns = known[name].shape
        pixel = f"{1e6 * known[name].panels[0].pixel_size_m:g} µm"
        gaps = gap if known[name].mask is not None else "none"
        table.add_row(name, f"{rows} x {columns}", modules, size, gaps, pixel)
    Console(highlight=False).print(table)
