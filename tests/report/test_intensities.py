import itertools
import re

import pytest

from hitfinder.indexing.intensities.statistics import ShellStatistics
from hitfinder.report.intensities import intensities_part


def shells(d_min_a, correlation=0.9):
    edges = [20.0, 6.0, 4.5, d_min_a]
    return [
        ShellStatistics(far, near, 100, 0.6, 1.5, 3.0, 5.0, -0.2 * k, correlation)
        for k, (far, near) in enumerate(itertools.pairwise(edges))
    ]


@pytest.mark.parametrize(("d_min_a", "is_doubtful"), [(3.6, True), (2.5, False)])
def test_a_b_factor_of_low_resolution_is_doubtful(d_min_a, is_doubtful):
    page = intensities_part(shells(d_min_a), 50)
    assert "the slope is a B factor of" in page
    assert ("doubtful short of 3 Å" in page) == is_doubtful


def test_columns_of_numbers_do_not_break_within_a_number():
    """On a phone a column without this is a character wide."""
    cells = re.findall(r"<t[dh][^>]*>", intensities_part(shells(2.5), 50))
    assert cells
    assert set(cells) <= {"<td class=n>", "<th class=n>"}


def test_agreement_with_the_structure_has_a_column_where_the_structure_is_known():
    known = intensities_part(shells(2.5), 50)
    assert "<th class=n>as expected</th>" in known
    assert known.count("<td class=n>0.90</td>") == 3
    unknown = intensities_part(shells(2.5, float("nan")), 50)
    assert "expected" not in unknown
    assert "<td class=n>–</td>" not in unknown
