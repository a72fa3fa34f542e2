"""Training a peak model from nothing: simulate, fit, calibrate, judge, write."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import hitfinder
from hitfinder.inference.evidence import peak_probabilities
from hitfinder.metrics.calibration import reliability
from hitfinder.models.calibration import Calibration
from hitfinder.models.peak_model import PeakModel, check_free, save
from hitfinder.training.peaks import card
from hitfinder.training.peaks.calibrate import calibrate, evidence_of
from hitfinder.training.peaks.examples import Examples, simulate_examples
from hitfinder.training.peaks.experiment import CAMERA_LENGTH_M, CELL_A, PHOTON_ENERGY_EV
from hitfinder.training.peaks.fit import Fit, answers, fit, truth_of
from hitfinder.training.peaks.frames import BACKGROUND, BLANK_SHARE, BRIGHT_SPOT

RANGES = {
    "photon_energy_ev": list(PHOTON_ENERGY_EV),
    "camera_length_m": list(CAMERA_LENGTH_M),
    "background_photons_per_pixel": list(BACKGROUND),
    "bright_spot_photons": list(BRIGHT_SPOT),
    "cell_edge_a": list(CELL_A),
}
_CALIBRATION_BLANKS = 0.6
_CALIBRATION_SEED, _TEST_SEED = 1_000_003, 2_000_003


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is simulated and how it is fitted.

    Parameters
    ----------
    seed : int
        Fixes everything.
    experiments : int
        Imaginary experiments of twelve frames to learn from; half as many more serve for
        calibration, a tenth for the metrics.
    fit : Fit
        How the locator is fitted.
    """

    seed: int = 0
    experiments: int = 1800
    fit: Fit = dataclasses.field(default_factory=Fit)


Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def train_peak_model(
    out: str | Path,
    plan: Plan,
    *,
    command: str,
    workers: int = 2,
    accelerator: str = "auto",
    overwrite: bool = False,
    progress: Progress,
    say: Callable[[str], None],
) -> PeakModel:
    """Train a peak model and write it to a folder.

    Parameters
    ----------
    out : path-like
        The folder.
    plan : Plan
        How much to simulate and how to fit.
    command : str
        For the record.
    workers : int
        Processes that simulate; the outcome does not depend on it.
    accelerator : str
        Where PyTorch computes: ``cpu``, ``gpu``, or ``auto`` for a GPU where there is one.
    overwrite : bool
        Replace a model that is there.
    progress : callable
        Given what is counted and how many, a context manager that shows a bar.
    say : callable
        Told a line after every step.

    Raises
    ------
    OutputError
        If there is a model already, before anything is computed, or it cannot be written.
    """
    began = time.perf_counter()
    check_free(Path(out), overwrite)
    sizes = {"train": plan.experiments, "calibrate": -(-plan.experiments // 2),
             "test": -(-plan.experiments // 10)}  # fmt: skip
    seeds = {"train": 0, "calibrate": _CALIBRATION_SEED, "test": _TEST_SEED}

    def simulated(part: str) -> Examples:
        with progress(f"simulating ({part})", sizes[part]) as on_done:
            share = _CALIBRATION_BLANKS if part == "calibrate" else BLANK_SHARE
            drawn = simulate_examples(plan.seed + seeds[part], sizes[part], workers, on_done, share)
            made = Examples.joined(list(drawn))
        say(f"{part}: {len(made.frames)} frames, {len(made)} candidates")
        return made

    examples = simulated("train")
    torch.set_num_threads(workers)
    history: list[dict[str, float]] = []

    def on_epoch(losses: dict[str, float]) -> None:
        history.append(losses)
        say(", ".join(f"{name} {value:.4g}" for name, value in losses.items()))

    network = fit(examples, plan.fit, plan.seed, on_epoch, device_of(accelerator))
    del examples
    held = simulated("calibrate")
    calibration = calibrate(answers(network, held)[:, 0], held)
    test = simulated("test")
    metrics = judge(answers(network, test), calibration, test)
    weights = {
        name: value.numpy()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    provenance: dict[str, Any] = {
        "made_by": f"hitfinder {hitfinder.__version__}",
        "commit": commit(),
        "command": command,
        "seed": plan.seed,
        "experiments": sizes,
        "fit": dataclasses.asdict(plan.fit),
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - began),
        "losses": history[-1],
    }
    model = PeakModel(Path(out).name, calibration, RANGES, provenance, metrics)
    return save(out, model, weights, card.text(model), overwrite=overwrite)


def judge(answer: NDArray[np.float32], calibration: Calibration, test: Examples) -> dict[str, Any]:
    """Measure a locator on frames that neither fit nor calibration saw.

    Returns
    -------
    dict
        Losses and errors by name: calibration error of peak and hit probabilities; hits found and
        false at a score of 2; median error of position (pixels) by photons; share of photons
        within one standard deviation.
    """
    frames, labels = test.frames, test.labels
    evidence = evidence_of(calibration, answer[:, 0], test)
    ends = np.cumsum(frames["n"])
    probability = np.empty(len(labels))
    score = np.empty(len(frames))
    hit = np.empty(len(frames))
    for k, about in enumerate(frames):
        own = slice(ends[k] - about["n"], ends[k])
        level = float(about["background"])
        odds = calibration.hit_log_odds(evidence[k])
        hit[k] = 1 / (1 + np.exp(-odds))
        ratio = calibration.log_ratio(answer[own, 0], level)
        probability[own] = peak_probabilities(ratio, max(float(about["n_chance"]), 1e-3), odds)
        score[k] = -calibration.log_blank_share(evidence[k], level) / np.log(10)
    is_hit = frames["hit"]
    # Hits and blanks weigh alike: the probabilities are for equal numbers of both.
    rng = np.random.default_rng(0)
    even = np.concatenate([rng.choice(np.flatnonzero(is_hit == v), len(frames)) for v in (0, 1)])
    truth = truth_of(test)
    placed = labels["true"] & np.isfinite(labels["d_fs"])
    off = np.hypot(answer[:, 1] - labels["d_fs"], answer[:, 2] - labels["d_ss"])
    z = (answer[:, 4] - truth["root_photons"]) * np.exp(-answer[:, 5])
    bright = placed & (labels["photons"] >= 20)
    faint = placed & (labels["photons"] < 20)
    values = {
        "peak_calibration_error": reliability(probability, labels["true"]).error,
        "hit_calibration_error": reliability(hit[even], is_hit[even]).error,
        "hits_found_at_score_2": (score[is_hit] >= 2).mean(),
        "false_hits_at_score_2": (score[~is_hit] >= 2).mean(),
        "position_error_px_20_photons_and_more": np.median(off[bright]),
        "position_error_px_below_20_photons": np.median(off[faint]),
        "photons_within_one_sigma": (np.abs(z[placed]) < 1).mean(),
    }
    return {name: round(float(value), 4) for name, value in values.items()} | {
        "frames": len(frames),
        "candidates": len(labels),
    }


def device_of(accelerator: str) -> str:
    """Return PyTorch's name of the device for an accelerator."""
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return {"gpu": "cuda"}.get(accelerator, accelerator)


def commit() -> str:
    """Return the commit of the source tree the package is in, if it is in one."""
    folder = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
