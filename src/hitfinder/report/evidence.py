"""What the verdict on a run rests on, gathered from its results a chunk at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hitfinder.estimate.ranges import ENERGY_RANGE_EV, LENGTH_RANGE_M
from hitfinder.geometry.geometry import Geometry
from hitfinder.report.numbers import number
from hitfinder.report.verdict import SUSPECT, Evidence, IndexRate
from hitfinder.results.chunk import OK, PENDING, ChunkResult
from hitfinder.results.explained import ICE, LINE, RingPeaks, mostly_on_ice, mostly_on_line

FAR_SIGMAS, FAR_SHARE = 5.0, 0.02
"""How far an estimate must be from what was used to contradict it: in standard deviations, and
relatively, as the estimate supposes that liquid water is all that scatters."""

UNMOVED_HITS, UNMOVED_SHARE, UNMOVED_PX = 8, 0.2, 3
"""Peaks at one place from which on, also as a share of the hits, it is unmoved, and its size.
Peaks of crystals that turn hardly ever meet so often."""

_DOUBTFUL = 0.5
_NEAR_PX = 3.0
_ESTIMATED = (("photon_energy", "ev", 1.0, "eV"), ("camera_length", "m", 1e3, "mm"))


class HitEvidence:
    """Counts what the hits of a run are like; what it keeps does not grow with the peaks.

    Parameters
    ----------
    geometry : Geometry
        Of the run.
    static : mapping, optional
        What ``run.json`` says of what does not move. Places that are masked have no peaks; those
        that are left may be static.
    """

    def __init__(self, geometry: Geometry, static: Mapping[str, Any] | None = None) -> None:
        self._geometry = geometry
        places = [p for p in (static or {}).get("places", ()) if not p["masked"]]
        self._places = cKDTree([(p["fs"], p["ss"]) for p in places]) if places else None
        self._frames = self._unread = 0
        self._doubtful = self._static = self._saturated = self._of_ice = self._on_line = 0
        self._rings, self._aside = RingPeaks(), {ICE: 0, LINE: 0}
        self._at_place = np.zeros([n // UNMOVED_PX + 1 for n in geometry.shape], np.int32)
        self._n_peaks = [np.empty(0, np.int32)]
        self._resolution = [np.empty(0, np.float32)]

    def add(self, chunk: ChunkResult) -> None:
        """Take in the results of some frames."""
        rows = chunk.rows
        ok = rows["status"] == OK
        self._frames += int(ok.sum())
        self._unread += int((~ok & (rows["status"] != PENDING)).sum())
        hit = rows["hit"]
        self._n_peaks.append(rows["n_peaks"][hit])
        self._resolution.append(rows["resolution_a"][hit])
        peaks = chunk.peaks
        # Where no probability is told, no peak is doubted.
        doubtful = peaks["probability"] < _DOUBTFUL
        self._count_places(peaks[np.repeat(hit, rows["n_peaks"])])
        some = hit & (rows["n_peaks"] > 0)
        owner = np.repeat(np.arange(len(rows)), rows["n_peaks"])
        self._doubtful += int((some & ~_any(owner, ~doubtful, len(rows))).sum())
        self._rings.add(rows)
        self._of_ice += int(mostly_on_ice(rows).sum())
        self._on_line += int(mostly_on_line(rows).sum())
        for kind in self._aside:
            self._aside[kind] += int((~hit & (rows["doubt"] == kind)).sum())
        saturation = self._geometry.detector.saturation
        if saturation is not None:
            full = _any(owner, peaks["maximum"] >= saturation, len(rows))
            self._saturated += int((hit & full).sum())
        if self._places is not None and len(peaks):
            distance, _ = self._places.query(np.stack([peaks["fs"], peaks["ss"]], 1))
            resting = np.bincount(owner, distance <= _NEAR_PX, len(rows))
            self._static += int((some & (resting > SUSPECT * rows["n_peaks"])).sum())

    def _count_places(self, peaks: NDArray[np.void]) -> None:
        """Count the peaks of hits at each place of the detector."""
        places = [np.maximum(peaks[axis], 0).astype(np.intp) // UNMOVED_PX for axis in ("ss", "fs")]
        np.add.at(self._at_place, tuple(places), 1)

    def _unmoved(self, n_hits: int) -> list[str]:
        """Say that most peaks of hits are where many other hits have one."""
        many = self._at_place >= max(UNMOVED_HITS, UNMOVED_SHARE * n_hits)
        share = float(self._at_place[many].sum() / max(self._at_place.sum(), 1))
        if share <= SUSPECT:
            return []
        return [
            f"{100 * share:.0f} % of the peaks lie on {np.count_nonzero(many)} places where many "
            "hits have one: bad pixels, or a crystal that does not turn"
        ]

    def evidence(self, run: Mapping[str, Any], *doubts: str) -> Evidence:
        """Return what a verdict needs.

        Parameters
        ----------
        run : mapping
            What ``run.json`` says of the run.
        *doubts : str
            What speaks against its geometry; empty ones are left out.
        """
        n_peaks = np.concatenate(self._n_peaks)
        resolution = np.concatenate(self._resolution)
        resolution = resolution[np.isfinite(resolution)]
        against = [doubt for doubt in doubts if doubt] + self._unmoved(len(n_peaks))
        estimate = run.get("estimated_geometry")
        against += contradictions(estimate, run["geometry"], run["origin"])
        live = run.get("live") or {}
        against += _seen_live(live.get("drift"), estimate is not None)
        return Evidence(
            self._frames,
            len(n_peaks),
            self._unread,
            run["hits_from"]["false_hits"],
            float(np.median(n_peaks)) if len(n_peaks) else None,
            float(np.median(resolution)) if len(resolution) else None,
            self._doubtful,
            self._static,
            self._saturated,
            tuple(against),
            _indexed_live(live.get("index_rate")),
            self._of_ice if self._rings.show_ice else 0,
            self._on_line,
            *self._aside.values(),
        )


def _any(owner: NDArray[np.intp], true: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """Whether anything that belongs to each of `n` frames is true."""
    found = np.zeros(n, bool)
    found[owner[true]] = True
    return found


@dataclasses.dataclass(frozen=True)
class Compared:
    """A value that the water in the frames tells, beside the one that was used.

    Attributes
    ----------
    name : str
        What it is: ``photon energy`` or ``camera length``.
    value, sigma, used : float
        Estimate, its standard deviation, and what was used, in `unit`.
    unit : str
        For people: ``eV`` or ``mm``.
    far : bool
        Whether the two contradict each other.
    """

    name: str
    value: float
    sigma: float
    used: float
    unit: str
    far: bool


def compared(estimate: Mapping[str, Any] | None, geometry: Mapping[str, Any]) -> list[Compared]:
    """Compare what the water in the frames tells with the geometry that was used.

    Parameters
    ----------
    estimate, geometry : mapping
        ``estimated_geometry`` and ``geometry`` of ``run.json``.

    Returns
    -------
    list of Compared
        Empty if the water tells nothing.
    """
    if not estimate or estimate["flag"] != "ok":
        return []
    found = []
    for name, in_json, scale, unit in _ESTIMATED:
        value, sigma = estimate[f"{name}_{in_json}"], estimate[f"{name}_sigma_{in_json}"]
        used = geometry[f"{name}_{in_json}"]
        far = abs(value - used) > max(FAR_SIGMAS * sigma, FAR_SHARE * used)
        words = name.replace("_", " ")
        found.append(Compared(words, scale * value, scale * sigma, scale * used, unit, far))
    return found


def _apart(
    estimate: Mapping[str, Any] | None, geometry: Mapping[str, Any], origin: Mapping[str, str]
) -> list[str]:
    """Say that photon energy and camera length do not go together, though either may be right.

    Their ratio, the radius of water's ring, is known far better than each of them.
    """
    if not estimate or estimate["flag"] not in ("ok", "few-photons"):
        return []
    told = estimate.get("with_photon_energy")
    if not told or told["flag"] != "ok":
        return []
    length, sigma = told["camera_length_m"], told["camera_length_sigma_m"]
    used = geometry["camera_length_m"]
    if abs(length - used) <= max(FAR_SIGMAS * sigma, FAR_SHARE * used):
        return []
    source = origin.get("camera_length_m", "")
    return [
        f"with the photon energy that was used, {geometry['photon_energy_ev']:.5g} eV, the water "
        f"says camera length {number(1e3 * length, 4)} ± {number(1e3 * sigma, 1)} mm, "
        f"{1e3 * used:.5g} mm was used" + (f" ({source})" if source else "")
    ]


def _indexed_live(told: Mapping[str, Any] | None) -> IndexRate | None:
    """Return the index rate of a live run, from ``live`` of ``run.json``."""
    if not told or not told["searched"]:
        return None
    return IndexRate(told["searched"], told["indexed"], told["by_chance"])


def _seen_live(drift: Mapping[str, Any] | None, has_estimate: bool) -> list[str]:
    """Say what speaks against the geometry in what a live run has seen on the way.

    Parameters
    ----------
    drift : mapping, optional
        ``drift`` of ``live`` in ``run.json``.
    has_estimate : bool
        Whether there is an estimate from the whole run, which says what speaks against what was
        set.
    """
    if drift is None:
        return []
    said = [] if has_estimate else list(drift["against_set"])
    if drift["words"]:
        return said + drift["words"]
    if drift["first_seen_at_frame"] is not None:
        at = f"about frame {drift['first_seen_at_frame']}"
        said.append(f"photon energy or camera length had drifted at {at}, and came back")
    return said


def contradictions(
    estimate: Mapping[str, Any] | None, geometry: Mapping[str, Any], origin: Mapping[str, str]
) -> list[str]:
    """Say where the water in the frames contradicts the geometry that was used.

    Parameters
    ----------
    estimate, geometry, origin : mapping
        Tables of ``run.json``; `origin` says where each value of `geometry` was taken from.
    """
    if estimate and estimate["flag"] == "outside":
        (least_ev, most_ev), (least_m, most_m) = ENERGY_RANGE_EV, LENGTH_RANGE_M
        if not (
            least_ev <= geometry["photon_energy_ev"] <= most_ev
            and least_m <= geometry["camera_length_m"] <= most_m
        ):
            # Nor does the estimate look where the geometry is.
            return []
        return [
            f"the water background fits no photon energy from {1e-3 * least_ev:g} to "
            f"{1e-3 * most_ev:g} keV with a camera length from {least_m:g} to {most_m:g} m: is the "
            "geometry right?"
        ]
    said = []
    for one, (name, in_json, _, _) in zip(compared(estimate, geometry), _ESTIMATED, strict=False):
        if one.far:
            source = origin.get(f"{name}_{in_json}", "")
            by = f" ({source})" if source else ""
            said.append(
                f"the water says {one.name} {number(one.value, 4)} ± {number(one.sigma, 1)} "
                f"{one.unit}, {one.used:.5g} {one.unit} was used{by}"
            )
    if not said:
        said += _apart(estimate, geometry, origin)
    if estimate and (estimate.get("drift") or {}).get("drifts"):
        said.append("photon energy or camera length drifts in the run")
    return said
