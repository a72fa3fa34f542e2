"""The page in a real browser, which is started once."""

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from hitfinder.job.rehit import rehit
from monitor.seen import brightest_near, circles, frame_shown, tiles, wait_until
from waiting import kept_port

HEAD = "document.querySelector('#about-frame b').innerText.trim() "


@pytest.fixture
def folder(finished, tmp_path):
    """The run in a folder of the test's own; its frames are where they are."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_the_page_says_what_the_tables_say(served, finished, opened):
    frames = pq.read_table(finished / "frames.parquet")
    hit = frames["hit"].to_numpy()
    page = opened(served.server.address)
    told = tiles(page)
    assert told["hits"] == str(hit.sum())
    assert told["hit rate"] == f"{100 * hit.mean():.3g}%"
    assert float(told["peaks in the median hit"]) == np.median(frames["n_peaks"].to_numpy()[hit])
    assert told["frames processed of 60"] == "60"
    reach = np.median(frames["resolution_a"].to_numpy()[hit])
    assert told["resolution of the median hit"] == f"{reach:.2g}Å"
    verdict = json.loads((finished / "run.json").read_text())["verdict"]
    assert page.inner_text("#verdict").startswith(f"{verdict['word']}: {verdict['reasons'][0]}")
    assert page.inner_text("#state") == "complete"
    best = int(frames["score"].to_numpy().argmax())
    assert frame_shown(page) == best
    assert page.locator(".peak").count() == frames["n_peaks"][best].as_py()
    sizes = page.evaluate("performance.getEntries().map(e => e.transferSize || 0)")
    assert 50e3 < sum(sizes) < 2e6
    # The frames are not of water, which would tell photon energy and camera length.
    empty = page.eval_on_selector_all("figure.chart.empty", "all => all.map(f => f.id)")
    assert empty == ["energy", "length"]
    assert page.locator("canvas").count() > 8


def test_circles_lie_on_the_peaks(served, finished, opened):
    page = opened(served.server.address + "#frame=5")
    peaks = pq.read_table(finished / "peaks.parquet", filters=[("frame", "==", 5)])
    page.uncheck("#show-rings")
    drawn = circles(page)
    width, height = page.evaluate("[canvas.clientWidth, canvas.clientHeight]")
    scale = min(width / 220, height / 200)
    wanted = np.stack([peaks["fs"].to_numpy() - 110, peaks["ss"].to_numpy() - 100], 1) * scale
    wanted += [width / 2, height / 2]
    assert len(drawn) == peaks.num_rows > 3
    assert np.allclose(sorted(drawn), sorted(wanted.tolist()))
    for x, y in drawn:
        assert np.allclose(brightest_near(page, x, y, 3 * scale), (x, y), atol=0.75 * scale)
    # Closer, around a peak: the circle is still on it, and the counts are written.
    x, y = next(c for c in drawn if 100 < c[0] < width - 100 and 100 < c[1] < height - 100)
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.wheel(0, -900)
    nearest = min(circles(page), key=lambda c: abs(c[0] - x) + abs(c[1] - y))
    closer = scale * np.exp(900 * 0.0016)
    assert np.allclose(nearest, (x, y), atol=2)
    assert np.allclose(brightest_near(page, *nearest, 2 * closer), nearest, atol=0.75 * closer)
    told = page.inner_text("#pointer")
    fs, ss = (float(part) for part in re.match(r"fs ([\d.]+) +ss ([\d.]+)", told).groups())
    at = np.hypot(peaks["fs"].to_numpy() - fs, peaks["ss"].to_numpy() - ss).argmin()
    assert peaks["fs"][int(at)].as_py() == pytest.approx(fs, abs=0.6)
    resolution = float(re.search(r"([\d.]+) Å", told).group(1))
    assert resolution == pytest.approx(peaks["resolution_a"][int(at)].as_py(), rel=0.02)


def test_keys_walk_through_the_frames(served, finished, opened):
    hits = np.flatnonzero(pq.read_table(finished / "frames.parquet")["hit"].to_numpy())
    page = opened(served.server.address + f"#frame={hits[2]}")
    for key, wanted in (("n", hits[3]), ("n", hits[4]), ("p", hits[3])):
        page.keyboard.press(key)
        wait_until(page, f"document.getElementById('number').value === '{wanted}'")
    assert "hit" in page.inner_text("#about-frame")
    before = circles(page)
    page.keyboard.press("+")
    assert circles(page) != before
    page.keyboard.press("0")
    assert circles(page) == before
    page.keyboard.press("c")
    assert circles(page) == []
    page.keyboard.press("s")
    wait_until(page, HEAD + "=== 'Sum of 60 frames'")
    page.keyboard.press("x")
    wait_until(page, HEAD + "=== 'Maximum of 60 frames'")
    assert not page.is_checked("#sum")
    page.fill("#number", "0")
    page.keyboard.press("Enter")
    wait_until(page, HEAD + "=== 'Frame 0'")
    assert frame_shown(page) == 0
    label = page.get_attribute("#canvas", "aria-label")
    assert label.startswith("Frame 0 no hit")


def test_a_threshold_of_the_reader_decides_anew(served, finished, opened):
    score = pq.read_table(finished / "frames.parquet")["score"].to_numpy()
    threshold = round(float(np.sort(score)[-9:-7].mean()), 3)
    page = opened(served.server.address)
    page.fill("#least", str(threshold))
    page.keyboard.press("Enter")
    wait_until(page, "!document.getElementById('again').hidden")
    assert tiles(page)["hits"] == "8"
    assert f"hitfinder rehit {finished} --hit-threshold {threshold:g}" in page.inner_text("#again")
    page.click("#reset")
    wait_until(page, "document.getElementById('again').hidden")
    assert tiles(page)["hits"] == str((score >= 2).sum())


def test_readers_hear_of_notes_and_of_hits_decided_again(folder, serve, opened):
    with serve(folder) as served:
        one, two = opened(served.server.address), opened(served.server.address, 390, 844)
        assert two.evaluate("document.documentElement.scrollWidth") <= 390
        one.fill("#note-text", "ice on the loop")
        one.select_option("#note-mark", "look")
        one.click("#note button")
        two.wait_for_selector("#note-list li")
        assert "ice on the loop" in two.inner_text("#note-list")
        hits = rehit(folder, hit_threshold=1e6).summary.hits
        assert hits == 0
        for page in (one, two):
            wait_until(page, "document.getElementById('least').value === '1000000'")
            assert tiles(page)["hits"] == "0"


def test_the_page_comes_back_with_the_server(folder, serve, opened):
    port = kept_port()
    with serve(folder, port=port) as served:
        page = opened(served.server.address)
        frame = frame_shown(page)
    wait_until(page, "document.getElementById('state').innerText === 'server not reached'")
    assert page.locator(".peak").count() > 0
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"complete": False}))
    with serve(folder, port=port):
        wait_until(page, "document.getElementById('state').innerText === 'interrupted'")
        assert frame_shown(page) == frame


def test_what_became_of_hits_that_were_handed_on_is_shown(folder, serve, opened):
    with serve(folder) as served:
        page = opened(served.server.address)
        assert not [label for label in tiles(page) if "fetched" in label or "sent" in label]
    offered = {"hits": 30, "fetched": 21, "passed_over": 4, "failed": 0, "waiting": 5}
    published = {
        **{"hits": 30, "sent": 27, "missed_by_some": 2, "without_subscriber": 1, "subscribers": 1},
        **{"passed_over": 0, "failed": 2, "waiting": 0},
    }
    told = {"state": "running", "offered": offered, "published": published}
    told |= {"source": "tcp://detector:31001", "series": 7}
    (folder / "live.json").write_text(json.dumps(told))
    with serve(folder) as served:
        page = opened(served.server.address)
        assert page.inner_text("h1") == "detector:31001, series 7"
        told = tiles(page)
        assert told["of 30 hits fetched; 5 waiting; 4 passed over"] == "21"
        words = (
            "of 30 hits sent to 1 subscriber; 1 without a subscriber; 2 missed by some; 2 failed"
        )
        assert told[words] == "27"
        # What could not be packed is an alarm; what nobody asked for is none.
        assert page.locator(".tile.warn").inner_text().startswith("27")


def test_without_the_frames_the_page_says_why(folder, serve, opened):
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"inputs": ["gone_master.h5"]}))
    with serve(folder) as served:
        page = opened(served.server.address)
        assert "gone_master.h5" in page.inner_text("#no-frame")
        assert "gone_master.h5" in page.inner_text("#trouble")
        assert page.locator(".peak").count() > 0
        assert tiles(page)["frames processed of 60"] == "60"
