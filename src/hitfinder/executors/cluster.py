"""Clusters by name: workers of this machine, a scheduler's address, or jobs of Slurm."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import sys
from collections.abc import Mapping
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from hitfinder import config, interrupts
from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.executors.nursery import ENVIRONMENT
from hitfinder.executors.processes import FAILED_STARTS, available_cores

if TYPE_CHECKING:
    from hitfinder.executors.dask import Dask

log = logging.getLogger(__name__)

LOCAL, SLURM = "local", "slurm"

CONNECT_S = 20
"""Time within which a scheduler must answer."""

_SETTINGS = {
    # How often a lost task is tried is our own affair, and the same for every executor.
    "distributed.scheduler.allowed-failures": 0,
    # Workers get a task when they are free, not before: one that dies takes no other with it.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.admin.large-graph-warning-threshold": "1 GiB",
}


@dataclasses.dataclass(frozen=True)
class SlurmSettings:
    """What is asked of Slurm.

    Attributes
    ----------
    workers : int
        Most workers, each a process of one core. They come as Slurm has room for them, and go when
        there is no work.
    workers_per_job : int
        Workers in one job.
    memory_per_worker : str
        Memory, as Slurm takes it.
    time : str
        Longest time of a job, as ``hh:mm:ss``. A worker whose job ends loses nothing: its task is
        done by another.
    partition, account : str
        Where the jobs go, and who pays; empty for the default.
    interface : str
        Network interface of the workers; empty for the default.
    logs : str
        Folder for what the jobs print.
    """

    workers: int = 8
    workers_per_job: int = 1
    memory_per_worker: str = "2GB"
    time: str = "01:00:00"
    partition: str = ""
    account: str = ""
    interface: str = ""
    logs: str = "slurm-logs"

    def __post_init__(self) -> None:
        for name in ("workers", "workers_per_job"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def cluster_executor(
    name: str, options: Mapping[str, Any] | None = None, *, workers: int | None = None
) -> Dask:
    """Return the executor of a cluster; a context manager, which ends the workers it started.

    Parameters
    ----------
    name : str
        ``local`` for worker processes of this machine, ``slurm`` for jobs, or the address of a Dask
        scheduler, such as ``tcp://node7:8786``.
    options : mapping, optional
        Fields of `SlurmSettings`, for ``slurm``.
    workers : int, optional
        Workers of ``local``; by default one for each core. Most workers of ``slurm``.

    Returns
    -------
    Dask
        The executor.

    Raises
    ------
    ConfigError
        If the options are not what the cluster takes, or a package is missing.
    HitfinderError
        If the cluster cannot be had.
    """
    options = dict(options or {})
    for package in ("distributed", *(["dask_jobqueue"] if name == SLURM else [])):
        if importlib.util.find_spec(package) is None:
            hint = "Install it with: pip install 'hitfinder[cluster]'"
            raise ConfigError(
                f"this needs {package.replace('_', '-')}, which is missing", hint=hint
            )
    if options and name != SLURM:
        raise ConfigError(f"the cluster {name!r} takes no options, got {min(options)}")
    import dask

    dask.config.set(_SETTINGS)
    if name == SLURM:
        return _slurm(slurm_settings(options, workers))
    if name == LOCAL:
        return _local(workers or available_cores())
    if workers is not None:
        raise ConfigError(f"the scheduler {name} has its own workers, their number cannot be given")
    return _connected(name)


def slurm_settings(options: Mapping[str, Any], workers: int | None = None) -> SlurmSettings:
    """Return settings from options, whose numbers may be text.

    Raises
    ------
    ConfigError
        If there is no such setting, or a value is not one of its kind.
    """
    whole = {f.name for f in dataclasses.fields(SlurmSettings) if f.type == "int"}
    given = {} if workers is None else {"workers": workers}
    for key, value in options.items():
        is_number = key in whole and isinstance(value, str) and value.isdecimal()
        given[key] = int(value) if is_number else value
    return config.build(SlurmSettings, given, "options of slurm")


def _local(workers: int) -> Dask:
    from distributed import Client, LocalCluster

    from hitfinder.executors.dask import Dask

    # Starting it lets signals through that are held.
    resource_tracker.ensure_running()
    # Ctrl-C in a terminal goes to the workers too, but the parent decides what it means.
    with interrupts.held():
        for _ in range(FAILED_STARTS):
            try:
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                    env=dict(ENVIRONMENT),
                )
            except RuntimeError:
                # It ends as a whole if one of its workers dies while it starts.
                log.debug("the cluster has not started", exc_info=True)
                continue
            return Dask(Client(cluster, set_as_default=False), cluster=cluster)
    hint = "Memory or processes may be short: see `ulimit -a`, or use fewer --workers."
    raise HitfinderError("workers of the cluster end while they start", hint=hint)


def _connected(address: str) -> Dask:
    from distributed import Client

    from hitfinder.executors.dask import Dask

    try:
        return Dask(Client(address, timeout=CONNECT_S, set_as_default=False))
    except (OSError, ValueError, TimeoutError) as error:
        hint = f"Give {LOCAL}, {SLURM}, or an address such as tcp://node7:8786."
        raise HitfinderError("no Dask scheduler answers there", address, hint) from error


def _slurm(settings: SlurmSettings) -> Dask:
    # At its import it lets Ctrl-C end the process as if all were done.
    with interrupts.handled_as_before():
        from dask_jobqueue import SLURMCluster
    from distributed import Client

    from hitfinder.executors.dask import Dask

    each = settings.workers_per_job
    with interrupts.held():
        cluster = SLURMCluster(
            cores=each,
            processes=each,
            memory=_times(settings.memory_per_worker, each),
            walltime=settings.time,
            queue=settings.partition or None,
            account=settings.account or None,
            interface=settings.interface or None,
            log_directory=settings.logs,
            python=sys.executable,
            job_script_prologue=[f"export {name}={value}" for name, value in ENVIRONMENT.items()],
            scheduler_options={"dashboard_address": None},
            # A worker that is about to lose its job hands its task back before.
            worker_extra_args=["--lifetime-stagger", "10s"],
        )
        cluster.adapt(minimum=0, maximum=settings.workers)
        return Dask(Client(cluster, set_as_default=False), settings.workers, cluster)


def _times(memory: str, n: int) -> str:
    from dask.utils import parse_bytes

    try:
        return f"{parse_bytes(memory) * n}B"
    except ValueError as error:
        raise ConfigError(f"memory_per_worker must be like 2GB, got {memory!r}") from error
