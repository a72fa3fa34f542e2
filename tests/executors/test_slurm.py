"""A job through a real Slurm of one node, started for the test."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hitfinder.executors.cluster import cluster_executor
from hitfinder.executors.contract import results
from waiting import LONGEST_S, kept_port, wait_for

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIG = """
ClusterName=hitfinder
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Start munge, the controller and the one node; stop them at the end."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing or os.geteuid():
        pytest.skip(f"needs root, and Slurm on this machine; missing: {missing}")
    # Others must be able to reach the socket, so not under pytest's private folder.
    folder = Path("/tmp") / f"hitfinder-slurm-{os.getpid()}"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    told = subprocess.run(["/usr/sbin/slurmd", "-C"], capture_output=True, text=True, check=True)
    cores, memory = (re.search(f"{key}=(\\d+)", told.stdout)[1] for key in ("CPUs", "RealMemory"))
    host = socket.gethostname().partition(".")[0]
    config = folder / "slurm.conf"
    ports = kept_port(), kept_port()
    config.write_text(
        CONFIG.format(folder=folder, host=host, ports=ports, cores=cores, memory=memory)
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    munge = ["munged", "-F", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")]
    programs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        patch.setenv("SLURM_CONF", str(config))
        for command in (munge, ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-f", str(config)]):
            log = open(folder / f"{command[0]}.out", "wb")  # noqa: SIM115 - the program's
            programs.append(subprocess.Popen(command, stdout=log, stderr=log))
            time.sleep(1)
        try:
            wait_for(
                lambda: "idle" in said("sinfo", "-h", "-o", "%T"),
                lambda: logs(folder),
                lambda: time.sleep(0.5),
            )
            yield folder
        finally:
            for program in reversed(programs):
                program.send_signal(signal.SIGTERM)
                program.wait(LONGEST_S)
            shutil.rmtree(folder, ignore_errors=True)


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def logs(folder):
    return "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.out"))


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))


def test_work_through_slurm_and_a_cancelled_job_costs_nothing(slurm, tmp_path):
    """As when a job is pre-empted within a task: Slurm ends it, and another one does the task."""
    from trial_work import Trial, noted

    options = {"partition": "short", "workers": "2", "memory_per_worker": "1GB", "time": "10"}
    options["logs"] = str(tmp_path / "logs")
    with cluster_executor("slurm", options) as executor:
        tasks = [("", 0), ("sleep once", 1), *(("wait", number) for number in range(2, 9))]
        found = executor.run(Trial(tmp_path), tasks)
        outcomes = [next(found)]
        wait_for(lambda: list(tmp_path.glob("began-1.*")), lambda: said("squeue"))
        worker = noted(tmp_path, "began-1")[0]
        said("scancel", *job_of(worker))
        outcomes += found
    assert sorted(results(outcomes)) == [number**2 for number in range(9)]
    assert len(noted(tmp_path, "opened")) > 1


def job_of(process):
    """Return the number of the job that a process is of."""
    told = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return [item.split(b"=")[1].decode() for item in told if item.startswith(b"SLURM_JOB_ID=")]


def test_a_run_through_slurm_is_the_same(slurm, tmp_path):
    import pyarrow.parquet as pq

    def hitfinder(*words):
        command = [sys.executable, "-m", "hitfinder", "-q", *map(str, words)]
        subprocess.run(command, check=True, cwd=tmp_path, timeout=LONGEST_S)

    few = ("--n", 12, "--detector", "eiger2-x-500k", "-j", 1)
    hitfinder("simulate", "--out", "sim", *few)
    hitfinder("run", "sim/frames_master.h5", "--out", "here", "-j", 1)
    given = ("--cluster-option", "partition=short", "--cluster-option", "workers=2")
    hitfinder("run", "sim/frames_master.h5", "--out", "there", "--cluster", "slurm", *given)
    for name in ("frames", "peaks"):
        here, there = (
            pq.read_table(tmp_path / folder / f"{name}.parquet") for folder in ("here", "there")
        )
        kept = [column for column in here.column_names if column != "seconds"]
        assert here.select(kept).equals(there.select(kept))
