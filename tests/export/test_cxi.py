import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.errors import OutputError, SourceError
from hitfinder.export import cxi
from hitfinder.export.cxi import CxiSummary, write_cxi, write_cxi_geom
from hitfinder.export.hits import to_pixel_index
from hitfinder.geometry.crystfel import read_geom
from hitfinder.io.handles import OPEN_FILES
from hitfinder.io.open import open_source
from hitfinder.io.write import NexusWriter

from .conftest import SHAPE, make_hit, make_peaks

CHOSEN = [0, 3, 4, 9, 10, 24]


def crystfel_peaks(h5file, line):
    """Peaks as CrystFEL reads them (image_hdf5_read_peaks_cxi): singles, half a pixel added."""
    group = h5file["/entry_1/result_1"]
    n = int(group["nPeaks"][line])
    return [
        (np.float32(x) + 0.5, np.float32(y) + 0.5, np.float32(i))
        for x, y, i in zip(
            group["peakXPosRaw"][line, :n],
            group["peakYPosRaw"][line, :n],
            group["peakTotalIntensity"][line, :n],
            strict=True,
        )
    ]


def hits():
    return [make_hit(frame, n) for frame, n in zip(CHOSEN, [4, 0, 7, 1, 2, 3], strict=True)]


def test_half_a_pixel_is_taken_off():
    np.testing.assert_array_equal(to_pixel_index(np.array([0.5, 7.25])), [0, 6.75])


def test_frames_are_shown_from_the_files_that_hold_them(tmp_path, master, geometry, frames):
    path = tmp_path / "hits.cxi"
    summary = write_cxi(path, open_source(master), geometry, hits())
    assert summary == CxiSummary(6, 0, 6000.0, 0.15)
    with h5py.File(path) as h5file:
        data = h5file["/entry_1/data_1/data"]
        np.testing.assert_array_equal(data[:], frames[CHOSEN])
        assert data.dtype == frames.dtype
        names = {source.file_name for source in data.virtual_sources()}
    # past the master, and named from the folder of hits.cxi
    assert names == {f"raw/x_data_00000{k}.h5" for k in (1, 2, 3)}


@pytest.mark.parametrize("name", ["25% DMSO", "100%%", "%b%s", "a%bar"])
def test_percent_signs_in_names_are_no_placeholders(tmp_path, geometry, frames, name):
    folder = tmp_path / name
    folder.mkdir()
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file[f"entry/{name}/frames"] = frames
    source = open_source(folder / f"{name}.h5", dataset=f"/entry/{name}/frames")
    write_cxi(folder / "hits.cxi", source, geometry, hits())
    with h5py.File(folder / "hits.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][3], frames[9])
    with open_source(folder / "hits.cxi") as again:
        assert again.n_readable == len(again)
        np.testing.assert_array_equal(again.read(3), frames[9])
        assert again.contents.linked_files[0].path.endswith(f"{name}.h5")


def test_frames_are_found_from_any_folder(tmp_path, master, geometry, frames, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(tmp_path)
    write_cxi("out/hits.cxi", open_source("raw/x_master.h5"), geometry, hits())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with h5py.File(out / "hits.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames[CHOSEN])


def test_both_may_be_moved_together(tmp_path, master, geometry, frames):
    write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, hits())
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(master.parent, moved / "raw")
    shutil.move(tmp_path / "hits.cxi", moved)
    with h5py.File(moved / "hits.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames[CHOSEN])


def test_frames_of_a_lost_file_do_not_pass_for_empty_ones(tmp_path, master, geometry):
    write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, hits())
    (master.parent / "x_data_000003.h5").unlink()
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        assert (h5file["/entry_1/data_1/data"][5] == np.iinfo(np.uint16).max).all()


@pytest.mark.parametrize("copy", [False, True])
def test_own_reader_reads_it_back(tmp_path, master, geometry, frames, copy):
    path = tmp_path / "hits.cxi"
    write_cxi(path, open_source(master), geometry, hits(), copy_frames=copy)
    with open_source(path) as source:
        assert len(source) == len(CHOSEN)
        for k, frame in enumerate(CHOSEN):
            np.testing.assert_array_equal(source.read(k), frames[frame])
        np.testing.assert_array_equal(source.metadata.mask, geometry.detector.mask)
        assert source.metadata.photon_energy_ev == pytest.approx(6000)
        assert source.metadata.camera_length_m == pytest.approx(0.15)


def test_copied_frames_need_no_other_file(tmp_path, master, geometry, frames):
    path = tmp_path / "hits.cxi"
    summary = write_cxi(path, open_source(master), geometry, hits(), copy_frames=True)
    assert summary.n_copied == 6
    shutil.rmtree(master.parent)
    with h5py.File(path) as h5file:
        data = h5file["/entry_1/data_1/data"]
        np.testing.assert_array_equal(data[:], frames[CHOSEN])
        assert data.chunks == (1, *SHAPE)
        assert not data.is_virtual
        assert "32008" in data._filters  # bitshuffle
        assert "copies" not in h5file["/entry_1/data_1"]


def test_frames_in_memory_are_copied(tmp_path, geometry, frames):
    summary = write_cxi(tmp_path / "hits.cxi", open_source(frames), geometry, hits())
    assert summary.n_copied == 6
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames[CHOSEN])


def test_linked_and_copied_frames_keep_their_order(tmp_path, master, geometry, frames):
    source = open_source([master, frames[::-1].copy()])
    chosen = [1, 25, 2, 49, 30, 24]
    write_cxi(tmp_path / "hits.cxi", source, geometry, [make_hit(i, 1) for i in chosen])
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        expected = np.concatenate([frames, frames[::-1]])[chosen]
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], expected)
        assert len(h5file["/entry_1/data_1/copies"]) == 3


def test_hits_in_any_order_and_twice(tmp_path, master, geometry, frames):
    chosen = [24, 3, 3, 17, 2, 16, 15, 18, 0]
    write_cxi(tmp_path / "a.cxi", open_source(master), geometry, [make_hit(i, 1) for i in chosen])
    with h5py.File(tmp_path / "a.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames[chosen])


def test_single_frame_files_are_linked(tmp_path, geometry, frames):
    for k in range(4):
        with h5py.File(tmp_path / f"f{k}.h5", "w") as h5file:
            h5file["/data/data"] = frames[k]
    source = open_source([tmp_path / f"f{k}.h5" for k in range(4)])
    summary = write_cxi(tmp_path / "hits.cxi", source, geometry, [make_hit(3, 1), make_hit(1, 2)])
    assert summary.n_copied == 0
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames[[3, 1]])


def test_peaks_as_crystfel_reads_them(tmp_path, master, geometry):
    write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, hits())
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        for line, hit in enumerate(hits()):
            found = crystfel_peaks(h5file, line)
            expected = list(zip(*(hit.peaks[n] for n in ("fs", "ss", "photons")), strict=True))
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        group = h5file["/entry_1/result_1"]
        # nPeaks in one dimension, the others in two, or CrystFEL refuses them
        assert group["nPeaks"].shape == (6,)
        for name in ("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity", "peakSNR"):
            assert group[name].shape == (6, 7)
        assert not group["peakXPosRaw"][0, 4:].any()


def test_all_columns_of_a_peak_are_kept(tmp_path, master, geometry):
    write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, hits())
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        group, peaks = h5file["/entry_1/result_1"], make_peaks(7, 4)
        for name, field in [
            ("peakSNR", "snr"),
            ("peakNPixels", "n_pixels"),
            ("peakMaximumValue", "maximum"),
            ("peakBackground", "background"),
            ("peakLogP", "log_p"),
        ]:
            np.testing.assert_allclose(group[name][2], peaks[field], rtol=1e-6)


def test_origin_and_scores(tmp_path, master, geometry):
    write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, hits())
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        group = h5file["/entry_1/result_1"]
        assert group["file"].asstr()[2] == str(master)
        assert group["event"].asstr()[2] == "//4"
        assert group["frame"][:].tolist() == CHOSEN
        assert group["score"][:].tolist() == [10 * i for i in CHOSEN]
        assert group["resolution_a"][2] == 44
        assert h5file["/entry_1/experiment_identifier"].asstr()[2] == f"{master} //4"


def test_file_names_that_are_not_text(tmp_path, geometry, frames):
    folder = os.fsencode(tmp_path) + b"/r\xe9sultats"
    os.mkdir(folder)
    name = Path(os.fsdecode(folder)) / "a.npy"
    np.save(name, frames)
    write_cxi(tmp_path / "hits.cxi", open_source(name), geometry, hits())
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        assert h5file["/entry_1/result_1/file"][0] == os.fsencode(name)


def test_energy_and_distance_of_each_frame(tmp_path, master, geometry):
    varied = [make_hit(0, 1, photon_energy_ev=6100.0), make_hit(1, 1, camera_length_m=0.151)]
    summary = write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, varied)
    assert summary == CxiSummary(2, 0, None, None)
    write_cxi_geom(tmp_path / "hits.geom", geometry, summary)
    geom = read_geom(tmp_path / "hits.geom")
    assert geom.unresolved == (
        "/LCLS/photon_energy_eV",
        "/LCLS/camera_length_mm",
    )
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        distance = h5file["/entry_1/instrument_1/detector_1/distance"]
        assert (list(distance), distance.attrs["units"]) == ([0.15, 0.151], "m")
        first, second = (geom.resolve(h5file, k).geometry() for k in (0, 1))
        joule = h5file["/entry_1/instrument_1/source_1/energy"][:]
    assert (first.photon_energy_ev, second.photon_energy_ev) == (6100, 6000)
    assert (first.camera_length_m, second.camera_length_m) == (0.15, 0.151)
    np.testing.assert_allclose(joule, np.array([6100, 6000]) * 1.602176634e-19)


def test_hits_that_agree_with_one_another_but_not_with_the_geometry(tmp_path, master, geometry):
    own = {"photon_energy_ev": 9000.0, "camera_length_m": 0.3}
    hits = [make_hit(frame, 1, **own) for frame in (0, 5)]
    summary = write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, hits)
    write_cxi_geom(tmp_path / "hits.geom", geometry, summary)
    told = read_geom(tmp_path / "hits.geom").geometry()
    assert (told.photon_energy_ev, told.camera_length_m) == (9000, 0.3)


def test_masks_of_frames_are_kept_with_the_hits(tmp_path, master, geometry):
    def own(frame):
        mask = np.zeros(SHAPE, bool)
        mask[0, frame] = True
        return mask if frame else None

    hits = [make_hit(frame, 1) for frame in (0, 3, 7)]
    path = tmp_path / "hits.cxi"
    summary = write_cxi(path, open_source(master), geometry, hits, mask_of=own)
    write_cxi_geom(tmp_path / "hits.geom", geometry, summary)
    expected = [geometry.detector.full_mask.copy() for _ in hits]
    expected[1][0, 3] = expected[2][0, 7] = True
    geom = read_geom(tmp_path / "hits.geom")
    with h5py.File(path) as h5file:
        for row in range(3):
            np.testing.assert_array_equal(geom.data_mask(h5file, row), expected[row])
    with open_source(path) as source:
        np.testing.assert_array_equal(source.mask_of(2), expected[2])


def test_geometry_file_finds_all_it_names(tmp_path, master, geometry, frames):
    summary = write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, hits())
    write_cxi_geom(tmp_path / "hits.geom", geometry, summary, adu_per_photon=2)
    text = (tmp_path / "hits.geom").read_text()
    for line in (
        "photon_energy = 6000",
        "clen = 0.15",
        "adu_per_photon = 2",
        "data = /entry_1/data_1/data",
        "dim0 = %",
        "dim1 = ss",
        "dim2 = fs",
        "mask = /entry_1/data_1/mask",
        "mask_good = 0x0",
        "mask_bad = 0x1",
        "peak_list = /entry_1/result_1",
        "peak_list_type = cxi",
    ):
        assert line in text.splitlines()
    geom = read_geom(tmp_path / "hits.geom")
    assert not geom.warnings
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        (slab,) = geom.layout.slabs
        np.testing.assert_array_equal(h5file[slab.data_path][slab.selection(3)], frames[9])
        np.testing.assert_array_equal(geom.data_mask(h5file, 3), geometry.detector.mask)
        assert h5file[geom.peak_list]["nPeaks"][3] == 1


def test_links_of_the_cxi_layout(tmp_path, master, geometry):
    write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, hits())
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        assert h5file["/cxi_version"][()] >= 140
        detector = h5file["/entry_1/instrument_1/detector_1"]
        assert detector["data"].shape == (6, *SHAPE)
        assert detector["x_pixel_size"][()] == pytest.approx(75e-6)


def test_many_batches(tmp_path, master, geometry, frames, monkeypatch):
    monkeypatch.setattr("hitfinder.export.cxi.HITS_PER_WRITE", 2)
    monkeypatch.setattr("hitfinder.export.links.FRAMES_PER_MAPPING", 2)
    write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, iter(hits()))
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames[CHOSEN])
        assert h5file["/entry_1/result_1/nPeaks"][:].tolist() == [4, 0, 7, 1, 2, 3]
        assert h5file["/entry_1/result_1/peakXPosRaw"].shape == (6, 7)
        np.testing.assert_allclose(
            h5file["/entry_1/result_1/peakXPosRaw"][5, :3], make_peaks(3, 24)["fs"] - 0.5
        )


def test_no_hits(tmp_path, master, geometry):
    summary = write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, [])
    assert summary == CxiSummary(0, 0, 6000.0, 0.15)
    write_cxi_geom(tmp_path / "hits.geom", geometry, summary)
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        assert h5file["/entry_1/data_1/data"].shape == (0, *SHAPE)
        assert h5file["/entry_1/result_1/peakXPosRaw"].shape == (0, 1)


def test_hits_without_peaks(tmp_path, master, geometry):
    write_cxi(tmp_path / "hits.cxi", open_source(master), geometry, [make_hit(2, 0)])
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        assert crystfel_peaks(h5file, 0) == []


def test_geometry_of_another_shape(tmp_path, geometry, frames):
    with pytest.raises(OutputError, match=r"\(11, 16\) pixels do not fit"):
        write_cxi(tmp_path / "hits.cxi", open_source(frames[:, 1:]), geometry, hits())
    assert not list(tmp_path.iterdir())


def test_source_that_went_missing_leaves_no_file(tmp_path, master, geometry):
    source = open_source(master)
    source.read(0)
    source.close()
    (master.parent / "x_data_000001.h5").unlink()
    with pytest.raises((SourceError, OutputError), match="x_data_000001"):
        write_cxi(tmp_path / "hits.cxi", source, geometry, hits())
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("copy", [False, True])
def test_hits_of_a_lost_file_can_be_left_out(tmp_path, master, geometry, frames, copy):
    source = open_source(master)
    source.close()
    (master.parent / "x_data_000001.h5").unlink()
    lost = []
    summary = write_cxi(
        tmp_path / "hits.cxi",
        source,
        geometry,
        hits(),
        copy_frames=copy,
        on_lost=lambda hit, error: lost.append((hit.frame, error.status)),
    )
    assert lost == [(frame, "missing-file") for frame in CHOSEN[:4]]
    assert summary.n_hits == 2
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        assert h5file["/entry_1/result_1/frame"][:].tolist() == CHOSEN[4:]
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames[CHOSEN[4:]])


@pytest.mark.parametrize("name", ["25% DMSO", "100%b", "a%%b", "%", "%%%b%"])
def test_names_in_which_hdf5_gives_percent_a_meaning(tmp_path, geometry, frames, name):
    folder = tmp_path / name
    folder.mkdir()
    with NexusWriter(folder / f"{name}_master.h5", geometry, np.uint16) as writer:
        for frame in frames:
            writer.write(frame)
    with h5py.File(folder / f"{name}.h5", "a") as file:
        file["100%b/50%"] = frames
        layout = h5py.VirtualLayout(frames.shape, "u2")
        layout[:] = h5py.VirtualSource(".", "100%%b/50%%", frames.shape, "u2")
        file.create_virtual_dataset("entry/data/data", layout)
    with h5py.File(folder / f"{name}_master.h5") as file:
        np.testing.assert_array_equal(file["entry/data/data"][:], frames)
    for path in (f"{name}_master.h5", f"{name}.h5"):
        source = open_source(folder / path)
        assert len(source) == len(frames)
        np.testing.assert_array_equal(source.read(24), frames[24])
        for out in (tmp_path, folder):
            write_cxi(out / "hits.cxi", source, geometry, hits())
            with h5py.File(out / "hits.cxi") as h5file:
                np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames[CHOSEN])
            np.testing.assert_array_equal(open_source(out / "hits.cxi").read(5), frames[24])


def test_many_files_are_checked_with_few_open(tmp_path, geometry, frames, monkeypatch):
    monkeypatch.setattr(cxi, "SOURCES_AT_ONCE", 4)
    for number, frame in enumerate(frames):
        with h5py.File(tmp_path / f"f{number:02}.h5", "w") as h5file:
            h5file["/entry/data/data"] = frame[None]
    most, plain = [], cxi._check_row

    def check_row(*arguments):
        plain(*arguments)
        most.append(len(os.listdir("/proc/self/fd")))

    monkeypatch.setattr(cxi, "_check_row", check_row)
    before = len(os.listdir("/proc/self/fd"))
    source = open_source(str(tmp_path / "f*.h5"))
    write_cxi(tmp_path / "hits.cxi", source, geometry, [make_hit(i, 1) for i in range(25)])
    assert len(most) == 25
    assert max(most) <= before + 4 + OPEN_FILES + 2
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][:], frames)


FULL = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import SHAPE, make_hit
from hitfinder.errors import OutputError
from hitfinder.export.cxi import write_cxi
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.open import open_source
geometry = Geometry(Detector("d", SHAPE, (Panel("p", 0, 0, SHAPE[1], SHAPE[0], 0, 0),)), 0.1, 6e3)
hits = (make_hit(i, 30) for i in range(1000))
try:
    write_cxi(sys.argv[2], open_source("a.h5"), geometry, hits, copy_frames=sys.argv[3] == "copy")
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("copy", ["link", "copy"])
@pytest.mark.parametrize(
    "free_kb",
    [0, 180, *(pytest.param(kb, marks=pytest.mark.slow) for kb in (8, 40, 100, 250, 300, 340))],
)
def test_a_full_disk_is_told_and_leaves_no_file(tmp_path, small_disk, free_kb, copy):
    """HDF5 writes much of a file when it is closed, and must not crash when it cannot."""
    with h5py.File(tmp_path / "a.h5", "w") as h5file:
        rng = np.random.default_rng(0)
        h5file["/entry/data/data"] = rng.integers(0, 200, (1000, *SHAPE), np.uint8)
    disk = small_disk(free_kb << 10)
    command = [sys.executable, "-c", FULL, Path(__file__).parent, disk / "hits.cxi", copy]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hits.cxi: cannot be written (No space left on device)" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_source_that_changed_is_noticed(tmp_path, master, geometry, monkeypatch):
    source = open_source(master)
    wrong = source.h5_location(10)
    real = type(source).h5_location
    monkeypatch.setattr(
        type(source), "h5_location", lambda self, i: wrong if i == 3 else real(self, i)
    )
    with pytest.raises(OutputError, match="--copy-frames"):
        write_cxi(tmp_path / "hits.cxi", source, geometry, [make_hit(3, 1)])
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from conftest import SHAPE, make_hit
from hitfinder.export.cxi import write_cxi
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.open import open_source
geometry = Geometry(Detector("d", SHAPE, (Panel("p", 0, 0, SHAPE[1], SHAPE[0], 0, 0),)), 0.1, 6e3)
hits = (make_hit(2 * i + i % 2, 30) for i in range(int(sys.argv[2])))
write_cxi("hits.cxi", open_source("a.h5"), geometry, hits)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_hardly_grows_with_hits(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as h5file:
        h5file["/entry/data/data"] = np.zeros((12001, *SHAPE), np.uint8)
    used_kb = []
    for n in (600, 6000):
        command = [sys.executable, "-c", MEMORY, str(Path(__file__).parent), str(n)]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        used_kb.append(int(done.stdout))
    # The 5400 hits more hold 30 peaks of 56 bytes each.
    assert used_kb[1] - used_kb[0] < 5400 * 30 * 56 / 1000


def test_frames_without_any_readable_one(tmp_path, geometry):
    source = open_source(tmp_path / "none.h5")
    assert write_cxi(tmp_path / "hits.cxi", source, geometry, []).n_hits == 0


def test_stacked_modules_are_copied_as_the_frame_they_make(tmp_path):
    geom = read_geom(Path(__file__).parents[1] / "geometry" / "data" / "modules.geom")
    stack = np.random.default_rng(2).poisson(2, (4, 2, 16, 16)).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as h5file:
        h5file[geom.layout.data_paths[0]] = stack
    geometry = geom.geometry()
    source = open_source(tmp_path / "a.h5", layout=geom.layout)
    summary = write_cxi(tmp_path / "hits.cxi", source, geometry, [make_hit(2, 1)])
    write_cxi_geom(tmp_path / "hits.geom", geometry, summary)
    assert summary.n_copied == 1
    with h5py.File(tmp_path / "hits.cxi") as h5file:
        np.testing.assert_array_equal(h5file["/entry_1/data_1/data"][0], stack[2].reshape(32, 16))
        assert h5file["/entry_1/data_1/mask"][24].all()
    fs, ss = np.array([0.5, 3.0, 15.5]), np.array([2.0, 9.5, 30.0])
    again = read_geom(tmp_path / "hits.geom").geometry()
    np.testing.assert_allclose(again.resolution_a(fs, ss), geometry.resolution_a(fs, ss), rtol=1e-9)


def test_results_of_the_finder_have_the_fields_that_are_written():
    from hitfinder.export.hits import PEAK_DATASETS, SCORES
    from hitfinder.export.tables import FRAME_COLUMNS, PEAK_COLUMNS
    from hitfinder.finding.peaks import PEAK_DTYPE
    from hitfinder.results.chunk import FRAME_DTYPE

    assert set(PEAK_DATASETS.values()) <= set(PEAK_DTYPE.names)
    assert set(PEAK_COLUMNS) - {"frame"} <= set(PEAK_DTYPE.names)
    assert set(FRAME_COLUMNS) - {"file", "event"} == set(FRAME_DTYPE.names) - {"support"}
    assert set(SCORES) <= set(FRAME_DTYPE.names)
