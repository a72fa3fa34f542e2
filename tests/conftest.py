import dataclasses
import gc
import importlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from hitfinder.executors.choose import executor_for
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.study.dataset.build import MadeFrame, build
from hitfinder.study.dataset.framefile import Spots
from hitfinder.study.dataset.layout import grid
from hitfinder.study.dataset.recipe import Recipe
from waiting import LONGEST_S

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "plugin"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure():
    # The same examples wherever the tests are run, however long they take there.
    calm = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    same = {"derandomize": True, "deadline": None, "suppress_health_check": calm}
    settings.register_profile("same", **same)
    settings.load_profile("same")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Every core has a worker: threads of PyTorch would only get in one another's way.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Commands that tests start need not compile every module anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Tests send Ctrl-C, which a shell's background job ignores, and all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    # What is there stays: the collector needs not look through it in test after test.
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session", autouse=True)
def one_worker_is_this_process():
    """Let runs work in the tests' process unless they ask for workers: one takes long to start.

    Tests of processes name their number, or make them themselves.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("hitfinder.job.run", "hitfinder.job.indexing.index"):
            module = importlib.import_module(name)
            patch.setattr(module, "Processes", executor_for)
            patch.setattr(module, "available_cores", lambda: 1)
        patch.setattr("hitfinder.cli.run.MOST_AHEAD", 0)
        yield


@pytest.fixture(autouse=True)
def path_and_environment():
    """Leave them as they were: a plug-in of the working directory is found there from then on, and
    Dask sets what programs are started with. A later test passes or fails by the order then.
    """
    before = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        yield
    for name in os.environ.keys() - before.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def random_numbers():
    """Draw the same ones in each test, whichever were run before it."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def log():
    """Leave the package's log as it was: a command that a test does sets its level and place."""
    log = logging.getLogger("hitfinder")
    before = log.level, log.propagate, list(log.handlers)
    yield
    log.setLevel(before[0])
    log.propagate, log.handlers[:] = before[1:]


@pytest.fixture
def own_module(monkeypatch):
    """Give a module a copy of its own of one that it imports, with some of it changed.

    A changed clock or `os.open` of the process would reach every other thread: a server that
    looks at the clock then sleeps for hours.
    """

    def give(module, name, **changed):
        own = types.SimpleNamespace(**vars(getattr(module, name)) | changed)
        monkeypatch.setattr(module, name, own)

    return give


@pytest.fixture
def own_path():
    """Give a path, and so all below it, a way of its own to delete a file.

    Another `Path.unlink` of the process would reach every other thread.
    """

    def give(path, unlink):
        return type("OwnPath", (type(path),), {"unlink": unlink})(path)

    return give


@pytest.fixture
def shared() -> Path:
    """Folder of reference data kept beside the project; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("reference data are not beside the project")
    return SHARED


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of the reference data that come with the tests; its README tells their origin."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def pattern_sim(reference_data) -> Path:
    """Nine Bragg-only frames of 1IC6 by CrystFEL's pattern_sim."""
    return reference_data / "pattern_sim_1ic6_9.h5"


@pytest.fixture(scope="session")
def example_site(tmp_path_factory) -> Path:
    """Folder in which the example plug-in is installed; building it must not need the network."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    where = ["--no-build-isolation", "--target", folder / "site", folder / "source"]
    done = subprocess.run([*pip, *where], capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stderr
    return folder / "site"


TREE_SHAPE = (32, 28)
WATER_SEED = 10**6


class PointMaker:
    """Frames with one bright pixel a peak, on flat water that grows with the energy."""

    def __init__(self, recipe):
        self.recipe = recipe
        self.made = []

    def water(self, setting, number=WATER_SEED):
        rng = np.random.default_rng([self.recipe.seed, int(setting.name), number])
        return rng.poisson(setting.photon_energy_ev[0] / 1000, TREE_SHAPE).astype(np.uint16)

    def frame(self, setting, number, has_peaks):
        self.made.append((setting.name, number))
        rng = np.random.default_rng([self.recipe.seed, int(setting.name), number, 1])
        bragg = np.zeros(TREE_SHAPE, np.uint16)
        at = rng.choice(np.prod(TREE_SHAPE), 3 if has_peaks else 0, replace=False)
        bragg.flat[at] = 50
        ss, fs = np.unravel_index(at, TREE_SHAPE)
        spots = Spots(np.zeros(len(at), int), fs + 0.5, ss + 0.5, np.full(len(at), 50.0))
        paper = self.recipe.protocol == "paper"
        water = self.water(setting) if paper else self.water(setting, number)
        values = (setting.photon_energy_ev[0], setting.camera_length_m[0])
        return MadeFrame(bragg, water, *values, spots, {"flux_photons": 3e8 + number})


@pytest.fixture(scope="session")
def tree_builder():
    """Build a small tree: two energies by two camera lengths, six frames with peaks in each."""

    def make(root, energies=(6000.0, 7000.0), lengths=(0.15, 0.25), **changes):
        defaults = {"frames": 6, "percent_empty": 50, "frames_per_file": 4, "seed": 3}
        recipe = Recipe(**{**defaults, **changes})
        build(root, grid(energies, lengths), recipe, PointMaker(recipe))
        return root

    return make


@pytest.fixture
def make_tree(tmp_path, tree_builder):
    """Build small trees in the test's own folder."""
    return lambda name="images", **options: tree_builder(tmp_path / name, **options)


@pytest.fixture
def point_maker():
    return PointMaker


@pytest.fixture(scope="session")
def one_thread():
    """Let PyTorch use one thread: the frames are small, and tests run beside one another."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_geometry() -> Geometry:
    """A 400 x 420 detector off the beam axis, with a gap."""
    mask = np.zeros((400, 420), bool)
    mask[196:206] = True
    panel = Panel("p0", 0, 0, 420, 400, -180.0, -210.5)
    return Geometry(Detector("small", (400, 420), (panel,), mask), 0.05, 6000.0)


@pytest.fixture(scope="session")
def finder(small_geometry: Geometry) -> LikelihoodFinder:
    return LikelihoodFinder(small_geometry)


@pytest.fixture(scope="session")
def water_like(small_geometry: Geometry) -> np.ndarray:
    """Expected background with a ring and polarisation, mean 1 photon per unmasked pixel."""
    maps = small_geometry.pixels
    ring = 1 + 4 * np.exp(-0.5 * ((maps.q - 1.0) / 0.3) ** 2)
    expected = ring * maps.solid_angle * maps.polarisation
    expected[small_geometry.detector.full_mask] = 0
    return expected / expected[expected > 0].mean()


@pytest.fixture(scope="session")
def sharp_ring():
    """Expected photons with a sharp ring, and a geometry whose beam centre is 3 pixels off."""
    ss, fs = np.ogrid[:400, :420]
    r = np.hypot(ss + 0.5 - 203, fs + 0.5 - 211)
    panel = Panel("p0", 0, 0, 420, 400, -210.0, -200.0)
    geometry = Geometry(Detector("small", (400, 420), (panel,)), 0.05, 6000.0)
    return 0.5 + 3 * np.exp(-(((r - 150) / 1.5) ** 2) / 2), geometry


@pytest.fixture
def kill_workers():
    """Kill workers of an executor as they come, each so long after its start or when it is busy."""
    ended, threads, killed = threading.Event(), [], []

    def watch(executor, most, delay_s):
        seen = {}
        while not ended.wait(0.001) and len(killed) < most:
            for worker in list(executor._workers):
                since = seen.setdefault(worker, time.monotonic())
                busy = worker.is_ready and worker.ticket is not None
                ripe = busy if delay_s is None else time.monotonic() - since >= delay_s
                if ripe and worker not in killed and len(killed) < most:
                    worker.process.kill()
                    killed.append(worker)

    def start(executor, most, delay_s):
        threads.append(threading.Thread(target=watch, args=(executor, most, delay_s)))
        threads[-1].start()
        return killed

    yield start
    ended.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 4 MiB; the function leaves only so many bytes of it free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")

    def leave(n_bytes):
        ballast = disk / "ballast"
        ballast.unlink(missing_ok=True)
        free = shutil.disk_usage(disk).free
        ballast.write_bytes(bytes(max(free - n_bytes, 0)))
        return disk

    yield leave
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def save_network():
    """Write a trained network whose weights are zero but for those given."""
    from hitfinder.study.networks import attribute, trained
    from hitfinder.study.networks.registry import network
    from hitfinder.study.networks.trained import TrainedNetwork

    def save(path, name, net, state, shape):
        config = dataclasses.replace(attribute.packaged(name), network=net)
        model = network(net).build(shape, config.n_outputs)
        values = {k: v.numpy() * 0 for k, v in model.state_dict().items()}
        for key, value in state.items():
            values[key] = np.broadcast_to(np.float32(value), values[key].shape).copy()
        made = TrainedNetwork(config, shape, config.threshold)
        return trained.save(path, made, values).path

    return save
