"""`hitfinder plugins`: what is registered, and which package it is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hitfinder.plugins import Registry

EPILOG = """\b
Examples:
  hitfinder plugins
  hitfinder plugins --check

\b
Exit codes: 0 all is well; 1 with --check, something cannot be imported.
"""


def registries() -> dict[str, Registry]:
    """Return everything that can be extended, by the plural that people use."""
    from hitfinder.finding.registry import FINDERS
    from hitfinder.io.readers import READERS
    from hitfinder.job.outputs.registry import OUTPUTS
    from hitfinder.study.networks.registry import NETWORKS

    return {"readers": READERS, "finders": FINDERS, "outputs": OUTPUTS, "networks": NETWORKS}


@click.command(epilog=EPILOG)
@click.option("--check", is_flag=True, help="Import each one, and say which cannot be.")
@click.pass_context
def plugins(ctx: click.Context, check: bool) -> None:
    """List what can be named on the command line: ours, and what installed packages register."""
    broken = False
    for heading, registry in registries().items():
        known = registry.known()
        click.echo(f"{heading} (entry points {registry.group})")
        width = max(map(len, known), default=0)
        for name, found in known.items():
            state = _broken(registry, name) if check else ""
            broken = broken or bool(state)
            hidden = f"; not that of {', '.join(found.hides)}" if found.hides else ""
            click.echo(f"  {name:<{width}}  {found.origin}, {found.path}{hidden}{state}")
    ctx.exit(1 if broken else 0)


def _broken(registry: Registry, name: str) -> str:
    """Say why a name cannot be imported; nothing if it can."""
    from hitfinder.errors import HitfinderError

    try:
        registry.load(name)
    except HitfinderError as error:
        return f"\n      {error}"
    return ""
