import re

import h5py
import numpy as np
import pytest

from hitfinder.errors import ConfigError, GeometryError
from hitfinder.experiment.gain import photon_value
from hitfinder.experiment.open import experiment_of, read_geometry_file
from hitfinder.experiment.reach import doubt
from hitfinder.experiment.recognise import recognise
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.crystfel import geom_lines, write_geom
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.io.memory import ArraySource
from hitfinder.io.open import open_source
from hitfinder.io.source import Metadata
from hitfinder.io.write import NexusWriter

SHAPE = (40, 50)


@pytest.fixture
def geometry():
    mask = np.zeros(SHAPE, bool)
    mask[3, 4] = True
    panel = Panel("p0", 0, 0, 50, 40, -20.0, -15.0)
    return Geometry(Detector("small", SHAPE, (panel,), mask, 900.0), 0.05, 7000.0)


@pytest.fixture
def master(geometry, tmp_path):
    path = tmp_path / "a_master.h5"
    with NexusWriter(path, geometry, np.uint16) as writer:
        writer.write(np.ones(SHAPE, np.uint16))
    return path


def setup(path, **given):
    settings = GeometrySettings(**given)
    geom = read_geometry_file(settings)
    return experiment_of(settings, geom, open_source(path, layout=geom.layout if geom else None))


def beam(made):
    panel = made.geometry.detector.panels[0]
    return -panel.corner_x, -panel.corner_y


def test_a_complete_master_says_it_all(master, geometry):
    made = setup(master)
    assert made.geometry.photon_energy_ev == pytest.approx(7000)
    assert made.geometry.camera_length_m == pytest.approx(0.05)
    assert beam(made) == pytest.approx((20, 15))
    assert made.geometry.detector.mask[3, 4]
    assert made.geometry.detector.saturation == 900
    assert made.origin["beam_center"] == made.origin["masked_pixels"] == "the frames' file"
    assert made.of_frame(0) == pytest.approx((7000, 0.05))


def test_what_the_user_says_comes_first(master, tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[7, 7] = True
    np.save(tmp_path / "mask.npy", mask)
    made = setup(
        master,
        photon_energy_ev=6500.0,
        camera_length_m=0.06,
        beam_center=(22.0, 11.0),
        polarisation=0.5,
        mask=str(tmp_path / "mask.npy"),
    )
    found = made.geometry
    assert (found.photon_energy_ev, found.camera_length_m, found.polarisation) == (6500, 0.06, 0.5)
    assert beam(made) == pytest.approx((22, 11))
    assert found.detector.mask[7, 7]
    assert found.detector.mask[3, 4]
    assert made.origin["photon_energy_ev"] == "settings"
    assert made.of_frame(0) == (6500, 0.06)


def test_a_geometry_file_comes_before_the_master(master, tmp_path, caplog):
    panel = Panel("q", 0, 0, 50, 40, -30.0, -5.0)
    other = Geometry(Detector("o", SHAPE, (panel,)), 0.09, 9000.0)
    write_geom(tmp_path / "o.geom", geom_lines(other, data_path="/entry/data/data"))
    made = setup(master, file=str(tmp_path / "o.geom"))
    assert beam(made) == pytest.approx((30, 5))
    assert made.geometry.camera_length_m == pytest.approx(0.09)
    assert made.geometry.detector.mask[3, 4], "the mask of the file still counts"
    made.log()
    assert f"which is used, but {master} says 7000 eV" in caplog.text
    made = setup(master, file=str(tmp_path / "o.geom"), camera_length_m=0.1)
    assert made.geometry.camera_length_m == pytest.approx(0.1)
    assert made.origin["photon_energy_ev"].endswith("o.geom")


def write_stack(path, frames, energies):
    with h5py.File(path, "w") as file:
        file["data/frames"] = frames
        file["LCLS/photon_energy_eV"] = energies
    return path


def write_text(path, **lines):
    given = {
        "data": "/data/frames",
        "dim0": "%",
        "dim1": "ss",
        "dim2": "fs",
        "clen": "0.05 m",
        "res": "13333.3",
        "p0/min_fs": 0,
        "p0/max_fs": 49,
        "p0/min_ss": 0,
        "p0/max_ss": 39,
        "p0/corner_x": -25,
        "p0/corner_y": -20,
        "p0/fs": "x",
        "p0/ss": "y",
        **lines,
    }
    path.write_text("".join(f"{key} = {value}\n" for key, value in given.items()))
    return str(path)


def test_what_a_geometry_file_leaves_open_is_read_from_the_frames_file(tmp_path):
    frames = np.ones((2, *SHAPE), np.uint16)
    stack = write_stack(tmp_path / "s.h5", frames, [6100.0, 6200.0])
    geom = write_text(tmp_path / "s.geom", photon_energy="/LCLS/photon_energy_eV eV")
    made = setup(stack, file=geom)
    assert made.geometry.photon_energy_ev == pytest.approx(6150)
    assert made.of_frame(1) == pytest.approx((6200, 0.05))
    with h5py.File(stack, "a") as file:
        del file["LCLS"]
    with pytest.raises(GeometryError, match="photon_energy_eV"):
        setup(stack, file=geom)
    made = setup(stack, file=geom, photon_energy_ev=5000.0, camera_length_m=0.05)
    assert made.geometry.photon_energy_ev == 5000


def write_motor(path, energies, position_mm):
    """Frames with the beam's values at places of their own, others at the usual ones."""
    with h5py.File(path, "w") as file:
        file["data/frames"] = np.ones((len(energies), *SHAPE), np.uint16)
        file["mono/energy"], file["motor"] = energies, position_mm
        file["LCLS/photon_energy_eV"] = np.full(len(energies), 5000.0)
        file["entry_1/instrument_1/detector_1/distance"] = 0.3
    return path


def test_each_frame_has_the_values_of_the_named_place_in_its_own_file(tmp_path, caplog):
    files = [
        write_motor(tmp_path / "a.h5", [8000.0, 8100.0, 8200.0], -450.0),
        write_motor(tmp_path / "b.h5", [12000.0, np.nan], -250.0),
    ]
    places = {"photon_energy": "/mono/energy eV", "clen": "/motor mm", "p0/coffset": "0.55"}
    made = setup(files, file=write_text(tmp_path / "m.geom", **places))
    assert made.geometry.photon_energy_ev == pytest.approx(8100)
    assert made.geometry.camera_length_m == pytest.approx(0.10)
    assert made.of_frame(2) == pytest.approx((8200, 0.10))
    assert made.of_frame(3) == pytest.approx((12000, 0.30))
    assert made.of_frame(4) == pytest.approx((8100, 0.30)), "without a value: what was used"
    assert "/mono/energy" in made.origin["photon_energy_ev"]
    made.log()
    assert "photon energy differs between frames, 8000 to 12000 eV" in caplog.text
    assert "camera length differs between frames, 0.1 to 0.3 m" in caplog.text


def test_files_without_the_named_place_get_the_value_that_was_used(tmp_path, caplog):
    files = [write_motor(tmp_path / f"{name}.h5", [8000.0], -450.0) for name in "abc"]
    with h5py.File(files[1], "a") as file:
        del file["mono/energy"]
    made = setup(files, file=write_text(tmp_path / "m.geom", photon_energy="/mono/energy eV"))
    assert [made.of_frame(i)[0] for i in range(3)] == [8000, 8000, 8000]
    assert "no dataset '/mono/energy'" in caplog.text
    assert "b.h5" in caplog.text


def test_values_that_hardly_differ_are_not_worth_a_warning(tmp_path, caplog):
    stack = write_motor(tmp_path / "a.h5", [8000.0, 8010.0], -450.0)
    setup(stack, file=write_text(tmp_path / "m.geom", photon_energy="/mono/energy eV")).log()
    assert "differs between frames" not in caplog.text


def test_a_detector_that_is_shifted_between_frames_is_refused(tmp_path):
    stack = write_motor(tmp_path / "a.h5", [8000.0] * 3, [0.0, 0.0, 0.09])
    places = {"photon_energy": "8000 eV", "detector_shift_x": "/motor mm"}
    with pytest.raises(GeometryError, match=r"detector_shift_x differs by .* pixels between"):
        setup(stack, file=write_text(tmp_path / "m.geom", **places))


def test_stacked_modules_have_their_values_read_too(tmp_path):
    stack = write_stack(tmp_path / "m.h5", np.ones((2, 3, *SHAPE), np.uint16), [6100.0, 6200.0])
    lines = {"p1/" + key: value for key, value in (("min_fs", 0), ("max_fs", 49))}
    lines |= {"p1/min_ss": 0, "p1/max_ss": 39, "p1/corner_x": 30, "p1/corner_y": 0}
    lines |= {"p1/fs": "x", "p1/ss": "y", "p0/dim1": 0, "p1/dim1": 2, "dim2": "ss"}
    lines |= {"p0/dim3": "fs", "p1/dim3": "fs"}
    geom = write_text(
        tmp_path / "m.geom", photon_energy="/LCLS/photon_energy_eV eV", dim1=0, **lines
    )
    made = setup(stack, file=geom)
    assert made.geometry.photon_energy_ev == pytest.approx(6150)
    assert made.source.shape == (2 * SHAPE[0], SHAPE[1])


def test_stored_values_become_photons(tmp_path):
    frames = np.zeros((1, *SHAPE), np.int32)
    frames[0, 5, 5:9] = 250, 120, -40, -9999
    stack = write_stack(tmp_path / "s.h5", frames, [6000.0])
    rules = {"p0/adu_per_photon": 25, "p0/flag_lessthan": -1000}
    geom = write_text(tmp_path / "s.geom", photon_energy="6000 eV", **rules)
    made = setup(stack, file=geom)
    frame = made.source.read(0)
    np.testing.assert_allclose(frame[5, 5:9], [10, 4.8, 0, np.nan])
    assert made.adu_per_photon == 25
    result = LikelihoodFinder(made.geometry)(frame)
    assert result.photons == 15
    buffer = np.empty(SHAPE, np.float32)
    assert made.source.read(0, buffer) is buffer
    plain = write_text(tmp_path / "p.geom", photon_energy="6000 eV")
    assert setup(stack, file=plain).source.dtype == np.int32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no detector is known with frames of 40 x 50 pixels"),
        ({"detector": "pilatus-100k"}, "frames are 40 x 50 pixels, detector 'pilatus-100k' has"),
    ],
)
def test_what_cannot_be_known_is_asked_for(tmp_path, given, message):
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, np.uint16))
    with pytest.raises(GeometryError, match=message):
        setup(tmp_path / "a.npy", **given)


def test_a_named_detector_needs_a_place(caplog):
    frames = ArraySource(np.zeros((1, 195, 487), np.uint16))
    for missing, option in (
        ("photon_energy_ev", "--photon-energy-ev"),
        ("camera_length_m", "--camera-length-m"),
    ):
        given = {"photon_energy_ev": 6000.0, "camera_length_m": 0.1, missing: None}
        with pytest.raises(GeometryError, match=option):
            experiment_of(GeometrySettings(**given), None, frames)
    settings = GeometrySettings(photon_energy_ev=6000.0, camera_length_m=0.1)
    made = experiment_of(settings, None, frames)
    assert made.geometry.detector.name == "pilatus-100k"
    made.log()
    assert "give --beam-center" in caplog.text


def test_detectors_are_recognised():
    shape = named_detector("eiger2-x-4m").shape
    assert recognise(shape, Metadata())[0].name == "eiger2-x-4m"
    found, origin = recognise(SHAPE, Metadata(pixel_size_m=1e-4, detector="mine"))
    assert (found.name, found.panels[0].pixel_size_m) == ("mine", 1e-4)
    assert "pixel size" in origin


def test_a_pixel_size_makes_one_flat_panel_of_any_frame():
    made = experiment_of(
        GeometrySettings(photon_energy_ev=6000.0, camera_length_m=0.1, pixel_size_um=55.0),
        None,
        ArraySource(np.ones((1, *SHAPE), np.uint16)),
    )
    (panel,) = made.geometry.detector.panels
    assert panel.pixel_size_m == pytest.approx(55e-6)
    assert made.origin["detector"] == "shape and pixel size: settings"
    shape = named_detector("eiger2-x-500k").shape
    assert recognise(shape, Metadata(), 75.0)[0].name == "eiger2-x-500k"
    assert recognise(shape, Metadata(detector="x"), 55.0)[0].name == "x"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2160, 2068), "Close are eiger2-x-4m 2162 x 2068, eiger-4m-report 2163 x 2069"),
        ((40, 50), "Give --pixel-size-um for one flat panel"),
    ],
)
def test_close_detectors_and_other_ways_are_named(shape, words):
    with pytest.raises(GeometryError) as caught:
        recognise(shape, Metadata())
    assert words in str(caught.value)
    assert "geometry-template" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (
            {"camera_length_m": 150.0},
            "camera_length_m 150 m is out of the ordinary; did you mean 0.15?",
        ),
        ({"camera_length_m": 1.5e-4}, "did you mean 0.15?"),
        (
            {"photon_energy_ev": 6.0},
            "photon_energy_ev 6 eV is out of the ordinary; did you mean 6000?",
        ),
        ({"photon_energy_ev": 9e6}, "did you mean 9000?"),
        (
            {"pixel_size_um": 0.075},
            "pixel_size_um 0.075 µm is out of the ordinary; did you mean 75?",
        ),
        ({"camera_length_m": 1e9}, "is out of the ordinary"),
        ({"beam_center": (0.08, 0.081)}, "it is counted in pixels"),
        (
            {"pixel_size_um": 75.0, "detector": "eiger-x-1m"},
            "neither a geometry file nor a detector",
        ),
        ({"adu_per_photon": 0.0}, "adu_per_photon must be positive"),
    ],
)
def test_values_in_another_unit_are_asked_about(given, asked):
    from hitfinder import config

    with pytest.raises(ConfigError) as caught:
        config.override(GeometrySettings(), **given)
    assert asked in str(caught.value)


@pytest.mark.parametrize(
    ("pixel_m", "length_m", "energy_ev", "asked"),
    [
        (75.0, 0.1, 6000.0, "pixel_size_m 75 m is out of the ordinary; did you mean 7.5e-05?"),
        (0.075, 0.1, 6000.0, "did you mean 7.5e-05?"),
        (75e-6, 100.0, 6000.0, "did you mean 0.1?"),
        (75e-6, 0.1, 6.0, "did you mean 6000?"),
        (-75e-6, 0.1, 6000.0, "pixel size must be positive"),
        (75e-6, -0.1, 6000.0, "camera length must be positive"),
    ],
)
def test_other_units_in_python_are_asked_about(pixel_m, length_m, energy_ev, asked):
    with pytest.raises(ValueError, match=re.escape(asked)):
        Geometry.flat((4, 4), pixel_m, camera_length_m=length_m, photon_energy_ev=energy_ev)


def test_a_data_file_without_its_master_is_told_of_it(master):
    with pytest.raises(GeometryError) as caught:
        setup(master.parent / "a_data_000001.h5", pixel_size_um=75.0)
    assert f"Give {master}, which tells more than its data files" in str(caught.value)


def test_a_file_that_is_no_data_file_of_a_master_is_not_told_of_itself(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros((2, 40, 50), np.uint16))
    with pytest.raises(GeometryError) as caught:
        setup(tmp_path / "plain.npy", pixel_size_um=75.0)
    assert str(caught.value).endswith(
        "the photon energy and the camera length are not known. "
        "Give --photon-energy-ev and --camera-length-m."
    )


def test_what_alone_is_not_known_is_named_alone(tmp_path):
    np.save(tmp_path / "plain.npy", np.zeros((2, 40, 50), np.uint16))
    with pytest.raises(GeometryError, match=r"the camera length is not known. Give --camera-l"):
        setup(tmp_path / "plain.npy", pixel_size_um=75.0, photon_energy_ev=6000.0)


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (0.1, ""),
        (10.0, "reaches to 390 Å only"),
        (0.0005, "reaches to a scattering angle of 89 degrees"),
    ],
)
def test_a_placeholder_for_the_camera_length_is_warned_of(caplog, length, words):
    settings = GeometrySettings(photon_energy_ev=6000.0, camera_length_m=0.1, pixel_size_um=75.0)
    frames = ArraySource(np.ones((1, 40, 40), np.uint16))
    geometry = Geometry(Detector.flat((1000, 1000), 75e-6), length, 6000.0)
    assert words in doubt(geometry)
    made = experiment_of(settings, None, frames)
    made.log()
    assert "reaches to" in caplog.text, "40 pixels see nothing at 0.1 m"


def floats(gain, noise, rate=0.02, n=3, seed=1):
    """Frames of few photons, as a detector that does not count gives them."""
    rng = np.random.default_rng(seed)
    photons = rng.poisson(rate, (n, 300, 300))
    return (gain * photons + rng.normal(0, noise * gain, photons.shape)).astype(np.float32)


GIVEN_BEAM = {"photon_energy_ev": 6000.0, "camera_length_m": 0.1, "pixel_size_um": 75.0}


@pytest.mark.parametrize("gain", [0.2, 6.0, 45.0])
@pytest.mark.parametrize("noise", [0.005, pytest.param(0.05, marks=pytest.mark.slow), 0.2])
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_the_size_of_a_photon_is_told_by_the_values(gain, noise, rate):
    values = floats(gain, noise, rate)
    assert photon_value(values.ravel()) == pytest.approx(gain, rel=0.06)
    with pytest.raises(GeometryError) as caught:
        experiment_of(GeometrySettings(**GIVEN_BEAM), None, ArraySource(values))
    said = float(str(caught.value).partition("Give --adu-per-photon ")[2].partition(",")[0])
    assert said == pytest.approx(gain, rel=0.06)


@pytest.mark.parametrize("noise", [0.4, 0.6, 1.0])
def test_noise_that_hides_photons_makes_them_no_other_size(noise, caplog):
    values = floats(1.8, noise, 0.05)
    assert photon_value(values.ravel()) is None
    experiment_of(GeometrySettings(**GIVEN_BEAM), None, ArraySource(values))
    assert "nor do they show it" in caplog.text


@pytest.mark.parametrize("rate", [0.8, 1.5])
@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_much_light_does_not_make_photons_another_size(noise, rate):
    found = photon_value(floats(1.0, noise, rate).ravel())
    assert found is None or found == pytest.approx(1, rel=0.06)
    assert noise > 0.2 or found is not None


def test_whole_numbers_that_are_multiples_are_doubted_though_a_gain_is_given(caplog):
    settings = GeometrySettings(**GIVEN_BEAM, adu_per_photon=1.0)
    values = floats(20.0, 0.0).astype(np.uint16)
    experiment_of(settings, None, ArraySource(values)).log()
    assert "all values are multiples of 20: is that one photon?" in caplog.text


def test_a_photon_that_is_given_is_not_asked_for():
    settings = GeometrySettings(**GIVEN_BEAM, adu_per_photon=6.0)
    values = floats(6.0, 0.05)
    made = experiment_of(settings, None, ArraySource(values))
    assert (made.adu_per_photon, made.origin["adu_per_photon"]) == (6, "settings")
    np.testing.assert_allclose(made.source.read(1), np.maximum(values[1] / 6, 0), rtol=1e-6)


@pytest.mark.parametrize("given", [1.0, None])
def test_whole_numbers_and_photons_with_noise_are_photons(given, caplog):
    settings = GeometrySettings(**GIVEN_BEAM, adu_per_photon=given)
    for values in (floats(1.0, 0.0), floats(1.0, 0.1)):
        made = experiment_of(settings, None, ArraySource(values))
        assert made.adu_per_photon == 1
    assert "no whole numbers" not in caplog.text


def test_values_that_tell_no_photon_are_warned_of(caplog):
    values = np.random.default_rng(2).normal(0, 1, (2, 60, 60)).astype(np.float32)
    experiment_of(GeometrySettings(**GIVEN_BEAM), None, ArraySource(values))
    assert "the values are no whole numbers" in caplog.text
    assert "--adu-per-photon" in caplog.text


def test_panels_of_different_gains_are_refused(tmp_path):
    stack = write_stack(tmp_path / "s.h5", counts(1), [6000.0])
    lines = {"photon_energy": "6000 eV", "p0/adu_per_photon": 25}
    path = write_text(tmp_path / "s.geom", **lines, **{"p0/max_ss": 19})
    with open(path) as file:
        text = file.read()
    own = [line for line in text.splitlines() if line.startswith("p0/")]
    other = "\n".join(own).replace("p0/", "p1/").replace("= 25", "= 12")
    other = other.replace("p1/max_ss = 19", "p1/max_ss = 39").replace("min_ss = 0", "min_ss = 20")
    with open(path, "a") as file:
        file.write(f"\n{other}\n")
    with pytest.raises(GeometryError, match="the panels differ in adu_per_photon"):
        setup(stack, file=path)


@pytest.mark.parametrize(
    "given",
    [
        {"file": "a.geom", "detector": "b"},
        {"photon_energy_ev": 0.0},
        {"camera_length_m": -1.0},
        {"camera_length_m": np.inf},
        {"photon_energy_ev": np.nan},
        {"beam_center": (3.0, np.nan)},
        {"polarisation": 1.5},
    ],
)
def test_impossible_settings_are_refused(given):
    from hitfinder import config

    with pytest.raises(ConfigError):
        config.override(GeometrySettings(), **given)


def write_masked(path, mask, dtype=np.uint16, center=(20.0, 15.0)):
    """Write frames of one photon in every pixel, with a mask and a beam centre."""
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.ones((2, *SHAPE), dtype)
        detector = file.create_group("entry/instrument/detector")
        detector["pixel_mask"], detector["detector_distance"] = mask, 0.05
        detector["beam_center_x"], detector["beam_center_y"] = center
        detector["x_pixel_size"] = 75e-6
        file["entry/instrument/beam/incident_energy"] = 7000.0
    return path


def halves():
    left, right = np.zeros((2, *SHAPE), np.uint32)
    left[:, :30], right[:, 20:] = 1, 1
    return left, right


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_each_frame_is_searched_with_the_mask_of_its_own_file(tmp_path, dtype):
    masks = halves()
    files = [write_masked(tmp_path / f"{k}.h5", m, dtype) for k, m in enumerate(masks)]
    made = setup(files)
    assert made.geometry.detector.mask.sum() == 40 * 10, "what both mask"
    finder = LikelihoodFinder(made.geometry)
    for index in range(4):
        result = finder(made.source.read(index))
        assert result.photons == 40 * 20
    unread = result.counts < 0
    np.testing.assert_array_equal(unread, masks[1] != 0)
    np.testing.assert_array_equal(made.masks.of(0), masks[0] != 0)
    assert made.origin["masked_pixels"] == "the frames' file, each frame's own"


def test_a_named_mask_is_taken_from_each_file_and_frame(tmp_path):
    left, right = halves()
    for name, mask in (("a", left), ("b", np.stack([left, right]))):
        with h5py.File(write_stack(tmp_path / f"{name}.h5", counts(2), [1.0, 1.0]), "a") as file:
            file["good"] = 1 - mask
            file["mask"] = np.ones(SHAPE, np.uint8)
    lines = {"photon_energy": "7000 eV", "p0/mask": "/good", "p0/mask_good": "0x1"}
    made = setup(
        [tmp_path / "a.h5", tmp_path / "b.h5"], file=write_text(tmp_path / "m.geom", **lines)
    )
    finder = LikelihoodFinder(made.geometry)
    for index, mask in enumerate([left, left, left, right]):
        unread = finder(made.source.read(index)).counts < 0
        np.testing.assert_array_equal(unread, mask != 0)


def counts(n_frames):
    return np.ones((n_frames, *SHAPE), np.uint16)


def test_files_with_different_beam_centres_are_refused(tmp_path):
    mask = np.zeros(SHAPE, np.uint32)
    centers = {"a": (20.0, 15.0), "b": (20.9, 15.0), "c": (20.0, 18.0)}
    a, b, c = (write_masked(tmp_path / f"{k}.h5", mask, center=v) for k, v in centers.items())
    assert beam(setup([a, b])) == pytest.approx((20, 15))
    with pytest.raises(GeometryError, match=r"20\.00, ss 15\.00 in .*a\.h5.*18\.00 in .*c\.h5"):
        setup([a, b, c])
    assert beam(setup([a, c], beam_center=(21.0, 17.0))) == pytest.approx((21, 17))


def test_a_mask_that_does_not_fit_is_warned_of(tmp_path, caplog):
    stack = write_masked(tmp_path / "a.h5", np.ones((10, 10), np.uint8))
    assert setup(stack).geometry.detector.mask is None
    assert "its shape (10, 10) is not that of the frames, 40 x 50" in caplog.text


@pytest.mark.parametrize(
    ("dtype", "scale", "lines"),
    [
        (np.uint16, 1, ("flag_equal = 65535", "max_adu = 899")),
        (np.uint32, 1, ("flag_morethan = 2147483000", "max_adu = 899")),
        (np.int32, 1, ("flag_morethan = 2147483000", "flag_lessthan = 0", "max_adu = 899")),
        (np.int64, 1, ("flag_morethan = 2147483000", "flag_lessthan = 0", "max_adu = 899")),
        (np.float32, 1, ("flag_lessthan = -1", "flag_equal = -1", "max_adu = 899.99993896484")),
        (np.int32, 25, ("flag_morethan = 2147483000", "max_adu = 899")),
    ],
)
def test_crystfel_is_told_which_values_are_no_readings(tmp_path, dtype, scale, lines):
    stack = write_masked(tmp_path / "a.h5", np.zeros(SHAPE, np.uint32), dtype)
    with h5py.File(stack, "a") as file:
        file["entry/instrument/detector/saturation_value"] = 900
    geom = write_text(
        tmp_path / "a.geom",
        data="/entry/data/data",
        photon_energy="6000 eV",
        **{"p0/adu_per_photon": scale},
    )
    made = setup(stack, file=geom)
    assert [line[:25] for line in made.directives.lines] == [line[:25] for line in lines]
    assert made.geometry.detector.saturation == 900 / scale, "peaks are found in photons"


def test_a_top_value_is_no_reading_in_frames_that_are_turned_into_photons(tmp_path):
    frames = np.zeros((1, *SHAPE), np.uint16)
    frames[0, 5, 5:7] = 250, 65535
    stack = write_stack(tmp_path / "s.h5", frames, [6000.0])
    lines = {"photon_energy": "6000 eV", "p0/adu_per_photon": 25}
    made = setup(stack, file=write_text(tmp_path / "s.geom", **lines))
    np.testing.assert_allclose(made.source.read(0)[5, 5:7], [10, np.nan])


def test_frames_whose_flags_the_finder_knows_stay_as_they_are(tmp_path):
    stack = write_stack(tmp_path / "s.h5", counts(1), [6000.0])
    lines = {"photon_energy": "6000 eV", "p0/flag_equal": 65535}
    made = setup(stack, file=write_text(tmp_path / "s.geom", **lines))
    assert made.source.dtype == np.uint16


def _integers(kind, rng):
    counts = rng.poisson(0.2, (3, 200, 200))
    return {
        "photons": counts.astype(np.uint16),
        "fivefold": (5 * counts).astype(np.uint16),
        "noise": np.rint(10 * counts + rng.normal(0, 2, counts.shape)).astype(np.int16),
        "gain": np.rint(2.5 * rng.poisson(3, counts.shape)).astype(np.uint16),
        "pedestal": (10 + counts).astype(np.uint16),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "refused", "warned"),
    [
        ("photons", "", ""),
        ("fivefold", "--adu-per-photon 5,", ""),
        ("noise", "--adu-per-photon 10", ""),
        ("gain", "", "another number than 1"),
        ("pedestal", "", "a pedestal"),
    ],
)
def test_whole_numbers_that_count_no_photons_are_told(caplog, kind, refused, warned):
    source = ArraySource(_integers(kind, np.random.default_rng(8)))
    settings = GeometrySettings(photon_energy_ev=9e3, camera_length_m=0.1, pixel_size_um=75)
    if refused:
        with pytest.raises(GeometryError, match=refused):
            experiment_of(settings, None, source)
        return
    experiment_of(settings, None, source).log()
    assert warned in caplog.text
    assert ("than 1" in caplog.text or "pedestal" in caplog.text) == bool(warned)
