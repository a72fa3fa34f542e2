"""``python -m hitfinder.crystal coordinates.pdb table.mtz``: compute a structure-factor table."""

import shlex
import sys
from pathlib import Path

import click


@click.command()
@click.argument("coordinates", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--d-min", default=1.5, show_default=True, help="Finest resolution, in Å.")
@click.option("--solvent-density", default=0.35, show_default=True, help="Bulk solvent, e/Å³.")
@click.option("--solvent-b", default=46.0, show_default=True, help="B of bulk solvent, Å².")
def main(
    coordinates: Path, table: Path, d_min: float, solvent_density: float, solvent_b: float
) -> None:
    """Compute structure factors of COORDINATES (PDB or mmCIF) and write them to TABLE (MTZ)."""
    from hitfinder.crystal.compute import from_coordinates
    from hitfinder.crystal.tables import write_mtz
    from hitfinder.errors import HitfinderError

    try:
        factors = from_coordinates(coordinates, d_min, solvent_density, solvent_b)
    except (HitfinderError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    arguments = [Path(a).name if Path(a).exists() else a for a in sys.argv[1:]]
    write_mtz(table, factors, (shlex.join(["python", "-m", "hitfinder.crystal", *arguments]),))
    click.echo(
        f"{len(factors)} reflections to {factors.d_min_a:.3f} Å, "
        f"mean |F|² {factors.f_squared.mean():.4g} e²"
    )


if __name__ == "__main__":
    main()
