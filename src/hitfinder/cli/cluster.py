"""The options that have the work done by a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hitfinder.executors.contract import Executor


def cluster_options(command: Any) -> Any:
    """Add the options that name a cluster."""
    for option in (
        click.option(
            "--cluster-option",
            "cluster_given",
            multiple=True,
            metavar="KEY=VALUE",
            help="Tell Slurm what is asked of it: partition, account, time, workers, ...; once for"
            " each.",
        ),
        click.option(
            "--cluster",
            metavar="NAME",
            help="Have it done by a Dask cluster: 'local', 'slurm', or a scheduler's address.",
        ),
    ):
        command = option(command)
    return command


def options_of(texts: Iterable[str], option: str) -> dict[str, str]:
    """Return KEY=VALUE texts by key.

    Raises
    ------
    click.BadParameter
        Naming the option, if a text is not of this form.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        found[key] = value
    return found


@contextlib.contextmanager
def chosen_executor(
    cluster: str | None, given: Iterable[str], workers: int | None
) -> Iterator[Executor | None]:
    """Give the executor of the named cluster for a block; None if none is named."""
    options = options_of(given, "--cluster-option")
    if cluster is None:
        if options:
            raise click.UsageError("--cluster-option needs --cluster")
        yield None
        return
    from hitfinder.executors.cluster import cluster_executor

    with cluster_executor(cluster, options, workers=workers) as executor:
        yield executor
