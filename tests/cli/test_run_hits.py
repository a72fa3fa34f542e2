"""What hits.cxi and hits.geom tell CrystFEL of a frame is what the run used for it."""

import h5py
import numpy as np

from hitfinder.experiment.open import experiment_of, read_geometry_file
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.crystfel import read_geom
from hitfinder.io.open import open_source

SHAPE = (60, 70)
GEOM = """photon_energy = /mono/energy keV
clen = /motor mm
adu_per_photon = 1
res = 13333.3
data = /frames
dim0 = %
dim1 = ss
dim2 = fs
mask = /good
mask_good = 1
mask_bad = 0
bandwidth = 0.002
group_all = p0
flag_morethan = 5000
p0/coffset = 0.55
p0/min_fs = 0
p0/max_fs = 69
p0/min_ss = 0
p0/max_ss = 59
p0/corner_x = -35
p0/corner_y = -30
p0/fs = x
p0/ss = y
"""


def write(path, energies_kev, motor_mm, good, seed):
    """Frames with eight spots, some values that are no counts, and other beam values beside."""
    rng = np.random.default_rng(seed)
    frames = rng.poisson(0.02, (len(energies_kev), *SHAPE)).astype(np.uint16)
    for frame in frames:
        frame[rng.integers(5, 55, 8), rng.integers(5, 65, 8)] += 25
        frame[rng.integers(0, 60, 5), rng.integers(0, 70, 5)] = 65535
        frame[rng.integers(0, 60, 5), rng.integers(0, 70, 5)] = 6000
    with h5py.File(path, "w") as file:
        file["frames"], file["good"] = frames, good
        file["mono/energy"], file["motor"] = energies_kev, motor_mm
        file["LCLS/photon_energy_eV"] = np.full(len(frames), 4000.0)
        file["entry_1/instrument_1/detector_1/distance"] = 0.9
    return path


def test_what_crystfel_is_told_is_what_the_run_used(tmp_path, hitfinder):
    (tmp_path / "a.geom").write_text(GEOM)
    one, other = np.ones((2, *SHAPE), np.uint8)
    one[:, :10] = other[:20] = 0
    files = [
        write(tmp_path / "a.h5", [6.0, 6.1], -500.0, one, 1),
        write(tmp_path / "b.h5", [7.0, 7.1], -510.0, np.stack([one, other]), 2),
    ]
    out = tmp_path / "out"
    options = ("--finder", "likelihood", "--no-estimate", "--workers", 1)
    done = hitfinder("run", *files, "-g", tmp_path / "a.geom", "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert "photon energy differs between frames" in done.stderr
    told = read_geom(out / "hits.geom")
    assert (told.bandwidth, told.groups) == (0.002, ("group_all = p0",))

    settings = GeometrySettings(file=str(tmp_path / "a.geom"))
    geom = read_geometry_file(settings)
    used = experiment_of(settings, geom, open_source(files, layout=geom.layout))
    finder = LikelihoodFinder(used.geometry)
    with h5py.File(out / "hits.cxi") as cxi:
        frames = cxi["entry_1/result_1/frame"][:].tolist()
        assert frames == [0, 1, 2, 3]
        for row, frame in enumerate(frames):
            geometry = told.resolve(cxi, row).geometry()
            assert geometry.photon_energy_ev == [6000, 6100, 7000, 7100][frame]
            np.testing.assert_allclose(geometry.camera_length_m, [0.05, 0.05, 0.04, 0.04][frame])
            bad = told.data_mask(cxi, row) | told.flagged(cxi["entry_1/data_1/data"][row])
            counts, _ = finder.counts_and_background(used.source.read(frame))
            np.testing.assert_array_equal(bad, counts < 0)
