from pathlib import Path

import pytest

from hitfinder.errors import ConfigError
from hitfinder.study.dataset.layout import Setting, continuous, frame_key, grid, report_matrix


def test_report_matrix_is_numbered_as_in_the_report():
    matrix = {s.name: (s.photon_energy_ev[0], s.camera_length_m[0]) for s in report_matrix()}
    assert len(matrix) == 9
    assert matrix["01"] == (6000, 0.15)
    assert matrix["02"] == (7000, 0.15)
    assert matrix["04"] == (6000, 0.25)
    assert matrix["09"] == (8000, 0.35)


def test_file_names_are_the_reports():
    settings = report_matrix()
    assert settings[0].file_name(1) == "01_6keV_clen01_000001.h5"
    assert settings[8].file_name(123) == "09_8keV_clen03_000123.h5"


def test_other_grids_and_ranges():
    settings = grid([6500.0], [0.1 + 0.01 * i for i in range(120)])
    assert (settings[0].name, settings[-1].name) == ("001", "120")
    assert settings[4].file_name(2) == "005_6.5keV_clen05_000002.h5"
    (setting,) = continuous((5000.0, 12000.0), (0.1, 0.5))
    assert setting.file_name(1) == "01_5-12keV_clen01_000001.h5"
    assert setting.holds(7123.0, 0.33, 1e-3)
    assert not setting.holds(12100.0, 0.33, 1e-3)


@pytest.mark.parametrize(
    ("energies", "lengths", "message"),
    [
        ([], [0.15], "photon energy"),
        ([6000.0, 6000.0], [0.15], "once"),
        ([6000.0], [-0.15], "camera length must be positive"),
        ([float("nan")], [0.1], "photon energy must be positive"),
    ],
)
def test_impossible_grids(energies, lengths, message):
    with pytest.raises(ConfigError, match=message):
        grid(energies, lengths)


def test_settings_are_numbers():
    with pytest.raises(ValueError, match="digits"):
        Setting("../x", (6000, 6000), (0.1, 0.1))


def test_keys_leave_out_the_reports_prefixes():
    names = ["img_6keV_clen01_00062.h5", "overlay_img_6keV_clen01_00062.h5"]
    names.append("label_img_6keV_clen01_00062.h5")
    assert {frame_key(Path(name)) for name in names} == {"img_6keV_clen01_00062"}


@pytest.mark.parametrize(
    ("energy", "length"), [(1e308, 0.15), (1e-320, 0.15), (6.0, 0.15), (6000.0, 150.0 * 1e3)]
)
def test_values_of_no_experiment_are_refused(energy, length):
    with pytest.raises(ConfigError, match=r"must be positive and rising, in .* got"):
        grid((energy,), (length,))
    with pytest.raises(ConfigError, match=r"must be positive and rising, in .* got"):
        continuous((energy, energy), (length, length))
