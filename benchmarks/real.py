"""Measured frames, at full dose and thinned: where finders agree, and a look at where not.

Every frame at hand (the shared data, and those in a folder named by --frames) is searched as it is
and binomially thinned, by ours at their defaults and by peakfinder8 and DIALS at one setting each;
peers that are not installed (benchmarks/peers/setup.sh) are left out. A place is what one or
several of them see within four pixels. Of thinned frames the peaks are counted that are near
nothing that any of them sees at full dose. Real blanks are thinned frames with all those places
masked.

Written are benchmarks/results/real.json and, for each frame, a contact sheet of places where the
finders differ: --out/NAME.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from scipy.ndimage import binary_dilation
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from hitfinder.errors import HitfinderError
from hitfinder.finding.contract import Finder
from hitfinder.io.open import open_source
from hitfinder.report.figures import new_figure
from hitfinder.suite.condition import TRUTH_DTYPE, Condition, ConditionRecipe, prepared
from hitfinder.suite.finders import finders
from hitfinder.suite.thinned import TOLERANCE_PX, FullFrame
from inputs import CACHE, REAL, SHARED
from peer import DIALS, PEAKFINDER8, PEERS
from real_truth import SETTINGS
from report import results_header, write_json

DOSES = (1.0, 0.1, 0.03, 0.01, 0.003)
SUFFIXES = (".cbf", ".cbf.gz", ".cbf.bz2", ".h5", ".nxs", ".cxi", ".img", ".tif", ".tiff", ".npy")
SHEET_DOSES = (1.0, 0.01)
PER_DOSE, REACH_PX = 12, 14
# At low doses no pixel of a spot reaches two photons.
THINNED = {
    PEAKFINDER8: {**SETTINGS[PEAKFINDER8], "adc_threshold": 0.5, "min_snr": 5},
    DIALS: SETTINGS[DIALS],
}
LEAST_FOR_FULL = 0.1
COLOURS = {
    "likelihood": "#1b9e77",
    "network": "#d95f02",
    "peakfinder8": "#7570b3",
    "DIALS": "#e7298a",
}
Peaks = dict[str, np.ndarray]
"""Positions (fs, ss) by finder."""


def at_hand(folder: Path | None) -> Iterator[FullFrame]:
    """Open the measured frames that say enough of their geometry."""
    given = sorted(folder.rglob("*")) if folder else []
    for path in (*sorted((SHARED / "real").glob("*")), *given):
        if not path.name.lower().endswith(SUFFIXES):
            continue
        try:
            for number in _numbers(path):
                yield FullFrame(path, REAL.get(path), number)
        except (HitfinderError, ValueError) as error:
            print(f"left out: {error}")


def _numbers(path: Path) -> list[int]:
    """Three frames of a file at most, spread over it."""
    with open_source([str(path)]) as source:
        return np.unique(np.linspace(0, len(source) - 1, 3).astype(int)).tolist()


def recipe_of(full: FullFrame) -> ConditionRecipe:
    """The frame at each dose, for ours and the peers."""

    def hit(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
        return thinned(full, DOSES[number], rng), np.empty(0, TRUTH_DTYPE)

    names = tuple(f"{dose:g}" for dose in DOSES)
    condition = Condition(f"real-{full.name}", full.name, "", "real", names, len(DOSES), 0, 0.0)
    return ConditionRecipe(condition, [full.geometry], np.uint16, hit)


def thinned(full: FullFrame, dose: float, rng: np.random.Generator) -> np.ndarray:
    return full.counts if dose == 1 else rng.binomial(full.counts, dose)


def searched(full: FullFrame) -> tuple[list[Peaks], list[np.ndarray]]:
    """What every finder sees in the frame at each dose, and the frames."""
    found: list[Peaks] = [{} for _ in DOSES]
    with tempfile.TemporaryDirectory() as folder:
        frames = prepared(recipe_of(full), Path(folder))
        images = [np.array(frame) for frame in frames.frames]
        for finder in finders():
            find = finder.processor(full.geometry, 0)
            for k, image in enumerate(images):
                peaks = find(image).peaks
                found[k][finder.name] = np.stack([peaks["fs"], peaks["ss"]], 1)
        for peer in PEERS:
            if not peer.available():
                print(f"{peer.name} is not installed (benchmarks/peers/setup.sh)")
                continue
            indices = list(range(len(DOSES)))
            answer, _ = peer.search(frames, indices, [SETTINGS[peer], THINNED[peer]])
            for k, dose in enumerate(DOSES):
                setting = 0 if dose >= LEAST_FOR_FULL else 1
                own = (answer[:, 0] == setting) & (answer[:, 1] == k)
                found[k][peer.name] = answer[own][:, 2:4]
    return found, images


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """Places that one or several finders see in a frame.

    Attributes
    ----------
    at : ndarray, shape (n, 2)
        Their middles (fs, ss).
    by : dict of ndarray of bool, shape (n,)
        Which finder sees which.
    """

    at: np.ndarray
    by: dict[str, np.ndarray]

    @staticmethod
    def of(peaks: Peaks) -> Seen:
        at = np.concatenate([np.empty((0, 2)), *peaks.values()])
        owner = np.repeat(list(peaks), [len(p) for p in peaks.values()])
        if not len(at):
            return Seen(at, {name: np.zeros(0, bool) for name in peaks})
        pairs = KDTree(at).query_pairs(TOLERANCE_PX, output_type="ndarray")
        near = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(at),) * 2)
        n, place = connected_components(near, directed=False)
        weight = np.bincount(place)
        middle = np.stack([np.bincount(place, column) / weight for column in at.T], 1)
        by = {name: np.isin(np.arange(n), place[owner == name]) for name in peaks}
        return Seen(middle, by)

    def told(self) -> dict[str, Any]:
        """Places of each finder, of each alone, and those of one that another has too."""
        n_by = sum(self.by.values())
        return {
            name: {
                "places": int(own.sum()),
                "alone": int((own & (n_by == 1)).sum()),
                "missed_by_it_alone": int((~own & (n_by == len(self.by) - 1)).sum()),
                "shared": {
                    o: int((own & other).sum()) for o, other in self.by.items() if o != name
                },
            }
            for name, own in self.by.items()
        }


def near_nothing(peaks: np.ndarray, full_dose: Seen) -> int:
    """Count the peaks that no finder has near at full dose."""
    if not len(peaks) or not len(full_dose.at):
        return len(peaks)
    return int((KDTree(full_dose.at).query(peaks)[0] > TOLERANCE_PX).sum())


def blanks(full: FullFrame, seen: Seen, n_frames: int) -> dict[str, Any]:
    """Hits and peaks in thinned frames whose places are all masked."""
    mask = binary_dilation(full.spots.labels > 0, np.ones((3, 3)), iterations=2)
    marks = np.zeros(mask.shape, bool)
    inside = ((seen.at >= 0) & (seen.at < mask.shape[::-1])).all(axis=1)
    marks[seen.at[inside, 1].astype(int), seen.at[inside, 0].astype(int)] = True
    mask |= binary_dilation(marks, np.ones((3, 3)), iterations=int(TOLERANCE_PX))
    geometry = dataclasses.replace(full.geometry, detector=full.geometry.detector.with_mask(mask))
    out: dict[str, Any] = {"pixels_masked": int(mask.sum())}
    for dose in DOSES[1:]:
        rng = np.random.default_rng([15, round(1e4 * dose)])
        frames = [thinned(full, dose, rng).astype(np.uint16) for _ in range(n_frames)]
        out[f"{dose:g}"] = {
            finder.name: _counted(finder.processor(geometry, 0), frames) for finder in finders()
        }
    return out


def _counted(find: Finder, frames: list[np.ndarray]) -> dict[str, Any]:
    results = [find(frame) for frame in frames]
    return {
        "frames": len(results),
        "hits": sum(r.hit for r in results),
        "doubtful": sum(bool(r.doubt) for r in results),
        "false_peaks": sum(len(r.peaks) for r in results),
    }


def sheet(path: Path, full: FullFrame, seen: dict[float, Seen], images: dict[float, Any]) -> None:
    """Draw places that some finders see and others do not, each finder's in its colour."""
    columns = PER_DOSE // 2
    figure, axes = new_figure((2.0 * columns, 2.25 * 2 * len(seen)), 2 * len(seen), columns, dpi=80)
    mask = full.geometry.detector.full_mask
    for row, (dose, places) in enumerate(seen.items()):
        n_by = sum(places.by.values())
        differ = np.flatnonzero((n_by > 0) & (n_by < len(places.by)))
        chosen = np.random.default_rng(1).permutation(differ)[:PER_DOSE]
        for k in range(PER_DOSE):
            ax = axes[2 * row + k // columns][k % columns]
            ax.set_axis_off()
            if k >= len(chosen):
                continue
            fs, ss = places.at[chosen[k]]
            by = [name for name, own in places.by.items() if own[chosen[k]]]
            _draw(ax, np.where(mask, np.nan, images[dose]), fs, ss, by)
            ax.set_title(f"{100 * dose:g} %  {fs:.0f}, {ss:.0f}\n{', '.join(by)}", fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _draw(ax: Any, image: np.ndarray, fs: float, ss: float, by: list[str]) -> None:
    top, left = max(int(ss) - REACH_PX, 0), max(int(fs) - REACH_PX, 0)
    part = image[top : int(ss) + REACH_PX + 1, left : int(fs) + REACH_PX + 1]
    high = max(float(np.nanmax(part, initial=0)), 2.0)
    ax.imshow(part + 0.3, norm=LogNorm(0.3, high), cmap="gray_r", interpolation="nearest",
              extent=(left, left + part.shape[1], top + part.shape[0], top))  # fmt: skip
    for k, name in enumerate(by):
        ring = {"markersize": 16 + 5 * k, "markeredgecolor": COLOURS.get(name, "black")}
        ax.plot([fs], [ss], "o", markerfacecolor="none", markeredgewidth=1, **ring)


def measured(full: FullFrame, out: Path, n_blanks: int) -> dict[str, Any]:
    """Everything that is said of one frame."""
    found, images = searched(full)
    seen = {dose: Seen.of(peaks) for dose, peaks in zip(DOSES, found, strict=True)}
    told: dict[str, Any] = {"frame": full.path.name, "doses": {}}
    for dose, peaks in zip(DOSES, found, strict=True):
        told["doses"][f"{dose:g}"] = {
            name: one | {"near_nothing_at_full_dose": near_nothing(peaks[name], seen[1.0])}
            for name, one in seen[dose].told().items()
        }
    drawn = dict(zip(DOSES, images, strict=True))
    name = f"{full.name}.png" if not full.number else f"{full.name}-{full.number}.png"
    sheet(out / name, full, {d: seen[d] for d in SHEET_DOSES}, drawn)
    told["blanks"] = blanks(full, seen[1.0], n_blanks)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path, help="folder of more measured frames")
    parser.add_argument("--out", type=Path, default=CACHE / "real", help="folder of the sheets")
    parser.add_argument("--blanks", type=int, default=20, help="real blanks for each dose")
    parser.add_argument("--only", default="", help="frames whose name holds this")
    arguments = parser.parse_args()
    found = []
    for full in at_hand(arguments.frames):
        if arguments.only in full.name:
            found.append(measured(full, arguments.out, arguments.blanks))
            print(found[-1], flush=True)
    write_json("real.json", results_header(list(PEERS)) | {"frames": found})


if __name__ == "__main__":
    main()
