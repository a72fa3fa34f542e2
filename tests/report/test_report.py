import html.parser
import re
import types
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.errors import SourceError
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.memory import ArraySource
from hitfinder.report.collect import Collector
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.pictures import picture, take_shots
from hitfinder.report.report import Report, draw
from hitfinder.report.summary import indexing_part, renewed, verdict_part
from hitfinder.report.verdict import IndexRate
from hitfinder.results.chunk import ChunkResult, empty_rows

N = 48
SECTIONS = (
    *(
        "verdict",
        "summary",
        "time",
        "peaks",
        "scores",
        "resolution",
        "profile",
        "pattern",
        "powder",
        "best",
    ),
    *("misses", "static", "problems", "geometry", "settings", "timings", "inputs"),
)
VOID = {"meta", "img", "link", "br", "path", "rect", "circle", "line", "polygon", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Checks that elements are closed; gathers ids, addresses and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.text, self.tags = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[name] for name in ("src", "href") if values.get(name)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def geometry():
    panel = Panel("p0", 0, 0, 90, 80, -45.0, -40.0)
    return Geometry(Detector("small", (80, 90), (panel,)), 0.02, 6000.0)


def static_place(kind, fs, ss, pixels, frames, hits, masked):
    numbers = {"pixels": pixels, "frames": frames, "frames_it_would_make_hits": hits}
    return {"kind": kind, "fs": fs, "ss": ss, **numbers, "masked": masked}


def peaks_at(geometry, fs, ss, photons=20.0):
    peaks = np.zeros(len(fs), PEAK_DTYPE)
    peaks["fs"], peaks["ss"], peaks["photons"] = fs, ss, photons
    peaks["probability"] = np.nan
    peaks["resolution_a"] = geometry.resolution_a(peaks["fs"], peaks["ss"])
    return peaks


def make_part(geometry, start, n=8):
    """Frames of which every fourth is a hit of 3 peaks; the score is the frame number."""
    rows, found = empty_rows(n, "ok"), []
    for k, row in enumerate(rows):
        hit = (start + k) % 4 == 0
        row["hit"], row["score"], row["n_peaks"] = hit, start + k + 0.5, 3 if hit else 1
        row["background_per_pixel"] = 0.25
        fs = [10.5, 20.5, 70.5][: row["n_peaks"]]
        found.append(peaks_at(geometry, fs, [30.5] * len(fs)))
    return ChunkResult(np.arange(start, start + n), rows, np.concatenate(found))


@pytest.fixture
def collected(geometry):
    collector = Collector(geometry, DetectorView.of(geometry, 1), 5)
    for start in range(0, N - 8, 8):
        part = make_part(geometry, start)
        if start == 8:
            part.rows[2] = empty_rows(1, "missing-source")[0]
            # Frame 8 is a hit of 3 peaks, 9 has one: the next is that of frame 10.
            part.peaks = np.delete(part.peaks, 4)
            part.problems = {10: "gone.h5: <lost> & gone"}
        collector.add(part)
    collector.add(ChunkResult.without_results(range(N - 8, N), "pending"))
    collector.profile = np.array([0.2, 0.1, np.nan])
    return collector


def test_frames_are_counted_by_status(collected):
    assert collected.statuses == {"ok": N - 9, "missing-source": 1, "pending": 8}
    assert collected.pending == 8
    assert collected.ok.sum() == N - 9
    assert np.flatnonzero(collected.hit).tolist() == list(range(0, 40, 4))
    assert collected.total_peaks == 10 * 3 + 29
    assert collected.messages == {"missing-source": (10, "gone.h5: <lost> & gone")}


def test_galleries_take_the_highest_scores_of_all_parts(collected):
    assert [pick.index for pick in collected.best] == [36, 32, 28, 24, 20]
    assert [pick.index for pick in collected.misses] == [39, 38, 37, 35, 34]
    assert [len(pick.peaks) for pick in collected.best] == [3] * 5
    assert collected.best[0].peaks["fs"].tolist() == [10.5, 20.5, 70.5]
    assert [len(pick.peaks) for pick in collected.misses] == [1] * 5


def test_figures_of_peaks_are_those_of_hits(geometry, collected):
    assert collected.inverse_d_counts.sum() == 30
    d = geometry.resolution_a(np.array([10.5]), np.array([30.5]))[0]
    at = np.searchsorted(collected.inverse_d_edges, 1 / d, side="right") - 1
    assert collected.inverse_d_counts[at] >= 10
    assert collected.powder[30, 70] == 10 * 20
    assert collected.powder.sum() == 30 * 20


def test_nothing_collected_shows_as_nothing(geometry):
    empty = Collector(geometry, DetectorView.of(geometry, 1), 5)
    assert (empty.pending, len(empty.ok)) == (0, 0)
    assert empty.profile.size == 0
    text = make_report(geometry, empty, [], [], None).html()
    assert text.count("Nothing to show.") >= 6
    assert set(SECTIONS) <= set(Page(text).ids)


@pytest.mark.filterwarnings("error")
def test_frames_without_a_pixel_to_read_have_no_background(geometry):
    collector = Collector(geometry, DetectorView.of(geometry, 1), 5)
    part = make_part(geometry, 0)
    part.rows["background_per_pixel"] = np.nan
    collector.add(part)
    text = "".join(Page(make_report(geometry, collector, [], [], None).html()).text)
    assert "–background photons per pixel" in text


def make_report(geometry, collected, best, misses, image, complete=True):
    run = {
        "inputs": ["/data/<run> & 7_master.h5"],
        "started": "2025-01-01 12:00:00",
        "complete": complete,
        "versions": {"hitfinder": "0.1.0", "numpy": "2.0"},
        "geometry": {
            "detector": "small",
            "shape": [80, 90],
            "photon_energy_ev": 6000.0,
            "camera_length_m": 0.02,
        },
        "origin": {"photon_energy_ev": "settings"},
        "static": {
            "frames_looked_at": 64,
            "pixels_masked": 9,
            "places_masked": 1,
            "places_left": 1,
            "places": [
                static_place("line", 20.5, 30.5, pixels=9, frames=33, hits=12, masked=True),
                static_place("arc", 60.5, 10.5, pixels=80, frames=64, hits=0, masked=False),
            ],
        },
        "settings": {"finder.false_hits": 0.01, "finder.hit_threshold": None, "output.csv": True},
        "hits_from": {"score": 2.0, "false_hits": 0.01},
        "verdict": {"word": "look", "reasons": ["only <39> frames", "10 hits"]},
        "timings": {"frames_per_second": 12.3, "workers": 2},
    }
    view = DetectorView.of(geometry, 1)
    drawn = draw(collected, view, image, np.array([0.5, 1, 1.5]), run["hits_from"])
    figures = ([shot.figure() for shot in shots] for shots in (best, misses))
    return Report(run, collected, view, image, drawn, *figures)


@pytest.fixture
def report(geometry, collected):
    frames = np.random.default_rng(0).poisson(0.5, (N, 80, 90)).astype(np.uint16)
    view = DetectorView.of(geometry, 1)
    mask = geometry.detector.full_mask
    source = ArraySource(frames, "frames.npy")
    shots = [take_shots(picks, source, view, mask) for picks in (collected.best, collected.misses)]
    return make_report(geometry, collected, *shots, view.mean_image(frames.sum(axis=0)))


def test_report_has_every_section_and_is_well_formed(report):
    page = Page(report.html())
    assert page.open == []
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    links = {a.removeprefix("#") for a in page.addresses if a.startswith("#")}
    assert links <= set(page.ids)


def test_the_size_of_frames_is_told_in_the_order_of_arrays_and_of_the_terminal(report):
    assert "80 × 90 pixels (ss × fs)" in report.html()


def test_report_needs_nothing_from_elsewhere(report):
    text = report.html()
    page = Page(text)
    assert all(a.startswith(("#", "data:image/png;base64,")) for a in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?://|@import|url\(", text)


def test_the_verdict_comes_first_with_its_reasons(report):
    text = report.html()
    shown = "".join(Page(text).text)
    assert "Verdict: look" in shown
    assert "only <39> frames" in shown
    assert text.index('id="verdict"') < text.index('id="summary"')


def test_parts_of_a_page_are_renewed_where_they_are(report):
    text = report.html()
    assert 'id="indexing"' not in text
    told = {"word": "keep", "reasons": ["12 of 14 indexed"]}
    lattice = read_lattice("68.3,68.3,108.5", "P 43 21 2")
    again = renewed(text, verdict_part(told), indexing_part(IndexRate(14, 12, 0.1), lattice))
    page = Page(again)
    assert page.open == []
    shown = "".join(page.text)
    assert "Verdict: keep" in shown
    assert "Verdict: look" not in shown
    assert "85.7 %" in shown
    assert "tetragonal Punit cell 68.3 68.3 108.5 Å, 90 90 90°" in shown
    assert page.ids.count("verdict") == page.ids.count("indexing") == 1
    twice = renewed(again, verdict_part(told), indexing_part(IndexRate(14, 2, 0.1), lattice))
    assert "85.7 %" not in twice
    assert Page(twice).ids == page.ids
    assert renewed("<html>of before</html>", verdict_part(told)) == "<html>of before</html>"


def test_report_shows_the_figures(report):
    text = "".join(Page(report.html()).text)
    for shown in ("39", "frames processed of 48", "25.6 %", "gone.h5: <lost> & gone", "12.3"):
        assert shown in text
    assert "a linked data file does not exist" in text
    assert "/data/<run> & 7_master.h5" in text
    assert "finder.hit_threshold" not in text
    assert text.count("frames.npy //36") == 1


def circled(figure, kind="peak"):
    """Where peaks are circled, in pixels of a picture of 90 x 80."""
    svg = ET.fromstring(re.search("<svg.*</svg>", figure)[0])
    width, height = map(float, svg.attrib["viewBox"].split()[2:])
    marks = [mark.attrib for mark in svg.findall(f"g[@class='{kind}']/circle")]
    return [(float(mark["cx"]) * 90 / width, float(mark["cy"]) * 80 / height) for mark in marks]


def test_gallery_circles_the_peaks(report):
    figure = report.best[0]
    assert len(circled(figure)) == 3
    assert circled(figure)[0] == pytest.approx((10.5, 30.5), abs=0.05)
    assert "score 36.5, 3 peaks" in figure
    assert 'alt="Counts of frame 36, 3 peaks circled, with rings of' in figure
    assert "1 peak<" in report.misses[0]


def test_doubtful_peaks_are_circled_otherwise(geometry):
    view = DetectorView.of(geometry, 1)
    peaks = peaks_at(geometry, [10.0, 20.0, 30.0, 40.0], [30.0, 40.0, 50.0, 60.0])
    peaks["probability"] = [0.9, 0.2, np.nan, 0.8]
    drawn = picture(view, np.zeros(view.shape), "", peaks)
    assert len(circled(drawn)) == 3
    assert drawn.count('class="peak doubtful"') == 1


def test_a_frame_that_was_lost_since_is_said_to_be(geometry, collected):
    def read(index):
        raise SourceError("missing-file", "there is no such file", "x<y>.h5")

    source = types.SimpleNamespace(read=read, ref=ArraySource(np.zeros((N, 2, 2))).ref)
    view = DetectorView.of(geometry, 1)
    shots = take_shots(collected.best[:1], source, view, geometry.detector.full_mask)
    assert "cannot be read any more: x&lt;y&gt;.h5" in shots[0].picture


def test_an_interrupted_run_says_so(geometry, collected):
    text = make_report(geometry, collected, [], [], None, complete=False).html()
    assert "8 frames are not processed yet" in "".join(Page(text).text)
    assert "not processed: the run was interrupted" in text


def test_report_is_written_whole_or_not_at_all(report, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    report.write(path)
    assert path.read_text(encoding="utf-8") == report.html()
    monkeypatch.setattr(Report, "html", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(path)
    assert path.stat().st_size > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
