"""What a report says of measured intensities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hitfinder.report.axes import Chart, mark
from hitfinder.report.numbers import number
from hitfinder.report.page import section, table
from hitfinder.report.summary import marked

if TYPE_CHECKING:
    from hitfinder.indexing.intensities.statistics import ShellStatistics

WILSON_TO_A = 3.0
"""Resolution short of which a Wilson plot hardly tells a B factor."""

_SHELL_COLUMNS = (
    *("resolution (Å)", "measured", "completeness", "multiplicity", "I/σ", "I/σ merged"),
    "frames for 99 %",
)
_CORRELATION = "as expected"


def intensities_part(shells: Sequence[ShellStatistics] = (), frames: int = 0) -> str:
    """Return what was measured, as a part that `renewed` can replace; nothing without shells.

    Parameters
    ----------
    shells : sequence of ShellStatistics
        Coarse resolution first.
    frames : int
        Frames that were measured.
    """
    if not shells:
        return marked("intensities", "")
    # Slow to import.
    from hitfinder.indexing.intensities.statistics import COMPLETE

    columns = list(_SHELL_COLUMNS)
    rows = [
        [
            f"{shell.d_max_a:.2f} – {shell.d_min_a:.2f}",
            number(shell.measured),
            f"{100 * shell.completeness:.3g} %",
            number(shell.multiplicity, 2),
            number(shell.i_over_sigma, 2),
            number(shell.merged_i_over_sigma, 2),
            number(math.ceil(shell.frames_needed(frames))),
        ]
        for shell in shells
    ]
    most = max(shell.frames_needed(frames) for shell in shells)
    note = (
        f"Reflections of {number(frames)} frames. {100 * COMPLETE:.0f} % completeness in every "
        f"shell takes about {number(math.ceil(most))} indexed frames, by the "
        "symmetry of the lattice."
    )
    known = [math.isfinite(shell.correlation) for shell in shells]
    if any(known):
        columns.append(_CORRELATION)
        for row, shell, is_known in zip(rows, shells, known, strict=True):
            row.append(f"{shell.correlation:.2f}" if is_known else "–")
        note += f" Column “{_CORRELATION}”: the correlation with the known structure."
    content = table(columns, rows, set(range(len(columns)))) + _wilson_plot(shells)
    return marked("intensities", section("intensities", "Intensities", content, note))


def _wilson_plot(shells: Sequence[ShellStatistics]) -> str:
    """Wilson plot: the logarithm falls off as 2 B sin²θ/λ²."""
    x = np.array([(1 / shell.d_max_a**2 + 1 / shell.d_min_a**2) / 8 for shell in shells])
    y = np.array([shell.wilson for shell in shells])
    good = np.isfinite(y)
    if good.sum() < 2:
        return ""
    x, y = x[good], y[good]
    b_factor = number(-float(np.polyfit(x, y, 1)[0]) / 2, 2)
    doubt = "" if shells[-1].d_min_a <= WILSON_TO_A else f", doubtful short of {WILSON_TO_A:g} Å"
    chart = Chart(
        "wilson",
        f"Wilson plot of the measured intensities, with an overall B factor of {b_factor} Å²",
        lambda axes: axes.plot(x, y, **mark("line")),
        (0.0, float(x.max()) * 1.05),
        (float(y.min()) - 0.3, float(y.max()) + 0.3),
        "sin²θ/λ² (Å⁻²)",
        "ln(mean I / protein at rest)",
    )
    told = f"Wilson plot: the slope is a B factor of {b_factor} Å²{doubt}."
    return f'<p class="note">{told}</p>{chart.html()}'
