import numpy as np
import pytest

from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.errors import OutputError
from hitfinder.export.solutions import write_solutions
from hitfinder.io.source import FrameRef

AXES = np.array([[0.0147, 0.001, 0.0], [-0.001, 0.0147, 0.0], [0.0, 0.0, 0.00926]])


def as_crystfel_reads(line):
    """File, event, axes in Å⁻¹, shift and code: a name may have blanks, so from the line's end."""
    file, event, *rest = line.rsplit(" ", 13)
    numbers = np.array(rest[:11], float)
    return file, event, numbers[:9].reshape(3, 3).T / 10, numbers[9:], rest[11]


def test_a_line_is_what_crystfel_reads(tmp_path):
    path = tmp_path / "out.sol"
    refs = [FrameRef("/data/run 7/hits.cxi", "//0"), FrameRef("/data/run 7/hits.cxi", "//12")]
    lattice = read_lattice("68,68,108", "P 43 21 2")
    write_solutions(path, lattice, [(refs[0], AXES), (refs[1], AXES.T), (refs[1], AXES)])
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    for line, ref, axes in zip(
        lines, (refs[0], refs[1], refs[1]), (AXES, AXES.T, AXES), strict=True
    ):
        file, event, read, shift, code = as_crystfel_reads(line)
        assert (file, event, code) == (ref.file, ref.event, "tPc")
        assert np.allclose(read, axes, atol=1e-8)
        assert np.array_equal(shift, [0, 0])


def test_a_name_too_long_for_crystfel_is_refused(tmp_path):
    path = tmp_path / "out.sol"
    ref = FrameRef("/" + 260 * "x" + "/hits.cxi", "//0")
    with pytest.raises(OutputError, match="too long for a CrystFEL solution"):
        write_solutions(path, read_lattice("68,68,108"), [(ref, AXES)])
    assert list(tmp_path.iterdir()) == []
