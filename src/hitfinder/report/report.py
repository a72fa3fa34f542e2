"""The report of a run: one HTML file that holds everything it shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from hitfinder import atomic
from hitfinder.report import charts
from hitfinder.report.collect import Collector
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.doubts import doubts_section
from hitfinder.report.intensities import intensities_part
from hitfinder.report.numbers import number
from hitfinder.report.page import page, section, side_by_side, table
from hitfinder.report.pictures import picture
from hitfinder.report.static import static_section
from hitfinder.report.summary import cards, indexing_part, verdict_part
from hitfinder.results.chunk import OK, PENDING

STATUS_MEANING = {
    "pending": "not processed: the run was interrupted; --resume completes it",
    "missing-file": "the file does not exist",
    "missing-source": "a linked data file does not exist",
    "truncated": "the file ends too early",
    "wrong-shape": "the frame does not have the shape of the others",
    "missing-filter": "a compression filter is not installed",
    "no-frames": "the file holds no frames",
    "unreadable": "the file cannot be read",
    "worker-died": "the process that worked on it died, or worked without end, twice",
    "short-memory": "there was no memory for it; --resume tries it again",
    "failed": "an error inside the program; please report it",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What a report shows.

    Attributes
    ----------
    run : mapping
        What ``run.json`` holds.
    collected : Collector
        Figures over all frames.
    view : DetectorView
        Picture the collector gathered positions on.
    image : ndarray, shape of `view`, or None
        Counts per pixel, summed over the frames.
    drawn : str
        What `draw` has drawn.
    best, misses : sequence of str
        Figures of the gallery.
    """

    run: Mapping[str, Any]
    collected: Collector
    view: DetectorView
    image: NDArray[np.floating] | None
    drawn: str
    best: Sequence[str]
    misses: Sequence[str]

    def html(self) -> str:
        """Return the page."""
        names = self.run["inputs"]
        title = Path(names[0]).name if names else "run"
        if len(names) > 1:
            title += f" and {len(names) - 1} more"
        parts = [verdict_part(self.run["verdict"]), cards(self.run, self.collected)]
        parts += [
            indexing_part(),
            intensities_part(),
            self.drawn,
            self._gallery(),
        ]
        parts += [doubts_section(self.run.get("doubts", {}), self.collected.by_doubt)]
        parts += [static_section(self.run["static"], self.view, self.image)]
        parts += [self._problems(), self._settings()]
        versions = ", ".join(f"{name} {v}" for name, v in self.run["versions"].items())
        return page(f"{title} – hitfinder", self._header(title), "".join(parts), escape(versions))

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        with atomic.replacing(path) as part:
            part.write_text(self.html(), encoding="utf-8")

    def _header(self, title: str) -> str:
        geometry, links = self.run["geometry"], []
        for name, text in (
            *(("time", "Hit rate"), ("pattern", "Pattern"), ("best", "Best hits")),
            *(("misses", "Nearest misses"), ("static", "What does not move")),
            *(("problems", "Problems"), ("settings", "Settings")),
        ):
            links.append(f'<a href="#{name}">{text}</a>')
        rows, columns = geometry["shape"]
        lines = [
            f"{geometry['detector']}, {rows} × {columns} pixels (ss × fs) · "
            f"{number(geometry['photon_energy_ev'], 5)} eV · camera length "
            f"{number(1e3 * geometry['camera_length_m'], 5)} mm",
            f"{self.run['started']} · hitfinder {self.run['versions']['hitfinder']}",
        ]
        lead = "".join(f'<p class="lead">{escape(line)}</p>' for line in lines)
        alert = ""
        if not self.run["complete"]:
            alert = (
                '<p class="alert">The run was interrupted: '
                f"{number(self.collected.pending)} frames are not processed yet. "
                "The same command with <code>--resume</code> completes it.</p>"
            )
        return f"<h1>{escape(title)}</h1>{lead}{alert}<nav>{''.join(links)}</nav>"

    def _gallery(self) -> str:
        out = []
        for name, heading, figures, note in (
            (
                "best",
                "Best hits",
                self.best,
                "Hits of the highest scores; peaks are circled, those likelier false than true in"
                " dots.",
            ),
            (
                "misses",
                "Nearest misses",
                self.misses,
                "Frames of the highest scores that are not hits.",
            ),
        ):
            content = f'<div class="gallery">{"".join(figures)}</div>' if figures else charts.EMPTY
            out.append(section(name, heading, content, note))
        return "".join(out)

    def _problems(self) -> str:
        c = self.collected
        bad = {s: n for s, n in c.statuses.items() if s not in (OK, PENDING)}
        if c.pending:
            bad[PENDING] = c.pending
        note = ""
        if c.n_left_out:
            which = "frame has" if c.n_left_out == 1 else "frames have"
            note = (
                f'<p class="note">{number(c.n_left_out)} {which} more peaks than are looked at: '
                "the weakest are left out.</p>"
            )
        if not bad:
            none = '<p class="note">None: every frame could be read.</p>'
            return section("problems", "Problems", note or none)
        rows = []
        for status, count in sorted(bad.items(), key=lambda item: -item[1]):
            index, message = c.messages.get(status, (None, ""))
            first = f"frame {index}: {message}" if index is not None else ""
            rows.append((status, number(count), STATUS_MEANING.get(status, ""), first))
        listed = table(("status", "frames", "meaning", "first"), rows, {1})
        return section("problems", "Problems", note + listed)

    def _settings(self) -> str:
        geometry, origin = self.run["geometry"], self.run["origin"]
        used = [
            (name.replace("_", " "), _shown(value), origin.get(name, ""))
            for name, value in geometry.items()
        ]
        settings = [(k, _shown(v)) for k, v in self.run["settings"].items() if v is not None]
        timings = [(k.replace("_", " "), _shown(v)) for k, v in self.run["timings"].items()]
        inputs = [(name,) for name in self.run["inputs"][:50]]
        if len(self.run["inputs"]) > 50:
            inputs.append((f"and {len(self.run['inputs']) - 50} more",))
        return (
            section("geometry", "Geometry", table(("", "value", "taken from"), used))
            + side_by_side(
                section("settings", "Settings", table(("setting", "value"), settings)),
                section("timings", "Timings", table(("", ""), timings)),
            )
            + section("inputs", "Input", table(("file",), inputs))
        )


def draw(
    collected: Collector,
    view: DetectorView,
    image: NDArray[np.floating] | None,
    bin_q: NDArray[np.float64],
    hits_from: Mapping[str, Any],
) -> str:
    """Draw the charts and pictures of all frames, which is most of the work of a report.

    Parameters
    ----------
    collected : Collector
        Figures over all frames.
    view : DetectorView
        Picture the collector gathered positions on.
    image : ndarray, shape of `view`, or None
        Counts per pixel, summed over the frames.
    bin_q : ndarray
        Scattering vector of the bins of the collector's profile, in Å⁻¹.
    hits_from : mapping
        What ``run.json`` says of it.
    """
    return _overview(collected, bin_q, hits_from) + _patterns(collected, view, image)


def _overview(c: Collector, bin_q: NDArray[np.float64], hits_from: Mapping[str, Any]) -> str:
    false_hits = hits_from["false_hits"]
    stated = (
        f" Of frames without a crystal, {number(false_hits, 2)} reach it." if false_hits else ""
    )
    time = section("time", "Hit rate over the run", charts.hit_rate(c), "Band: 68 % interval.")
    return time + side_by_side(
        section("peaks", "Peaks per hit", charts.peaks_per_hit(c), "All frames that are hits."),
        section(
            "scores",
            "Scores",
            charts.scores(c, hits_from["score"]),
            "Frames at and beyond the threshold are hits (green)." + stated,
        ),
        section(
            "resolution",
            "Resolution of the peaks",
            charts.resolution(c),
            "Peaks of hits against 1/d.",
        ),
        section(
            "profile",
            "Radial profile",
            charts.radial_profile(bin_q, c.profile),
            "Mean background without peaks.",
        ),
    )


def _patterns(c: Collector, view: DetectorView, image: NDArray[np.floating] | None) -> str:
    nothing = charts.EMPTY
    n_ok = number(int(c.ok.sum()))
    summed = spots = nothing
    if image is not None:
        told = f"Counts per pixel of {n_ok} frames added up"
        summed = picture(view, image, told, unit="photons")
    # A spot of one pixel would hardly be seen.
    powder = maximum_filter(c.powder, 3)
    if image is not None:
        powder[np.isnan(image)] = np.nan
    if c.powder.any():
        told = f"Photons in the peaks of all {number(int(c.hit.sum()))} hits, where they are"
        spots = picture(view, powder, told, unit="photons", whole=True)
    return side_by_side(
        section(
            "pattern",
            "Summed pattern",
            summed,
            f"Counts per pixel, all {n_ok} frames added up.",
        ),
        section("powder", "Peak positions", spots, "Photons in the peaks of all hits."),
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(v) for v in value)
    if isinstance(value, (int, float)):
        return number(value, 6)
    return "–" if value is None else str(value)
