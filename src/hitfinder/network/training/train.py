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
from hitfinder.metrics.calibration import reliability
from hitfinder.network.calibration import Calibration
from hitfinder.network.folder import check_free
from hitfinder.network.model import PeakModel, save
from hitfinder.network.training import card
from hitfinder.network.training.agreement import torch_locator
from hitfinder.network.training.architecture import Locator
from hitfinder.network.training.calibrate import calibrate, evidence_of, probabilities
from hitfinder.network.training.devices import device_name
from hitfinder.network.training.examples import LEARNT, Examples, Sample, simulate_examples
from hitfinder.network.training.experiment import CAMERA_LENGTH_M, CELL_A, PHOTON_ENERGY_EV
from hitfinder.network.training.fit import FitSettings, Fitting, answers, truth_of
from hitfinder.network.training.frames import BACKGROUND, BLANK_SHARE, BRIGHT_SPOT
from hitfinder.network.training.unfinished import UnfinishedTraining, is_begun, unfinished

RANGES = {
    "photon_energy_ev": list(PHOTON_ENERGY_EV),
    "camera_length_m": list(CAMERA_LENGTH_M),
    "background_photons_per_pixel": list(BACKGROUND),
    "bright_spot_photons": list(BRIGHT_SPOT),
    "cell_edge_a": list(CELL_A),
}
SECONDS_BETWEEN_STATES = 60.0
"""What a kill loses of the fit, at most."""

_EDGE_PX = (250, 2000)
_SAMPLES = {
    "train": (0, LEARNT),
    "calibrate": (1_000_003, Sample(0.6, None, _EDGE_PX)),
    "test": (2_000_003, Sample(BLANK_SHARE, None, _EDGE_PX)),
}
"""Added to the seed, and what is drawn: what the answers are worth depends on the frame's size."""


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
    fit : FitSettings
        How the locator is fitted.
    """

    seed: int = 0
    experiments: int = 1800
    fit: FitSettings = dataclasses.field(default_factory=FitSettings)

    @property
    def sizes(self) -> dict[str, int]:
        """Experiments by what they serve for."""
        n = self.experiments
        return {"train": n, "calibrate": -(-n // 2), "test": -(-n // 10)}


Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class PeakTraining:
    """The steps from a plan to a model in a folder.

    Parameters
    ----------
    out : path-like
        The folder.
    plan : Plan
        How much to simulate and how to fit.
    command : str
        For the record.
    workers : int
        Processes that simulate; what they simulate does not depend on it.
    resume : bool
        Go on with a training in the folder that was cut short.
    overwrite : bool
        Replace a model that is there, or a training if it is not gone on with.
    progress : callable
        Given what is counted and how many, a context manager that shows a bar.
    say : callable
        Told a line after every step.

    Raises
    ------
    OutputError
        If there is a model already.
    """

    def __init__(
        self,
        out: str | Path,
        plan: Plan,
        *,
        command: str,
        workers: int = 2,
        resume: bool = False,
        overwrite: bool = False,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.out, self.plan, self.workers = Path(out), plan, workers
        self._resume = resume and is_begun(self.out)
        # Whoever began it has said whether it may replace a model.
        self._overwrite = overwrite or self._resume
        self._progress, self._say = progress, say
        self._began = time.perf_counter()
        self._made = {
            "made_by": f"hitfinder {hitfinder.__version__}",
            "commit": commit(),
            "command": command,
            "seed": plan.seed,
            "torch": torch.__version__,
        }
        check_free(self.out, self._overwrite)

    def run(self, accelerator: str = "auto") -> PeakModel:
        """Train a model from nothing and write it.

        Parameters
        ----------
        accelerator : str
            Where PyTorch computes: ``cpu``, ``gpu``, or ``auto`` for a GPU where there is one.

        Raises
        ------
        OutputError
            If it cannot be written.
        ConfigError
            If the training to go on with is another.
        """
        device = device_name(accelerator)
        with self._unfinished({"fit": dataclasses.asdict(self.plan.fit)}) as kept:
            examples = self._simulated("train", kept)
            torch.set_num_threads(self.workers)
            fitting = Fitting(examples, self.plan.fit, self.plan.seed, device)
            if (before := kept.fit) is not None:
                fitting.restore(before)
            self._fit(fitting, kept)
            network, losses = fitting.network, fitting.losses[-1]
            del examples, fitting
            how = {"fit": dataclasses.asdict(self.plan.fit), "losses": losses}
            return self._finished(network, kept, how)

    def recalibrate(self, model: PeakModel) -> PeakModel:
        """Keep the weights of a model, measure anew what its answers are worth, and write it.

        Raises
        ------
        OutputError
            If it cannot be written.
        ConfigError
            If the training to go on with is another.
        hitfinder.network.folder.ModelError
            If the weights cannot be used.
        """
        network = torch_locator(model)
        with self._unfinished({"model": model.provenance}) as kept:
            return self._finished(network, kept, {}, model.provenance)

    def _unfinished(self, how: dict[str, Any]) -> AbstractContextManager[UnfinishedTraining]:
        """Begin, or go on; `how` tells where the weights come from."""
        same = {name: self._made[name] for name in ("made_by", "commit", "seed")}
        asked = same | {"experiments": self.plan.experiments} | how
        return unfinished(self.out, asked, resume=self._resume, overwrite=self._overwrite)

    def _fit(self, fitting: Fitting, kept: UnfinishedTraining) -> None:
        """Fit to the end; the state is kept now and then, and after every epoch."""
        kept_at, told = time.monotonic(), len(fitting.losses)
        for _ in fitting.steps():
            is_epoch_done = len(fitting.losses) > told
            if is_epoch_done or time.monotonic() > kept_at + SECONDS_BETWEEN_STATES:
                kept.keep_fit(fitting.state())
                kept_at = time.monotonic()
            if is_epoch_done:
                told = len(fitting.losses)
                losses = fitting.losses[-1]
                self._say(", ".join(f"{name} {value:.4g}" for name, value in losses.items()))

    def _simulated(self, part: str, kept: UnfinishedTraining) -> Examples:
        n = self.plan.sizes[part]
        offset, sample = _SAMPLES[part]
        seed = self.plan.seed + offset
        with self._progress(f"simulating ({part})", n) as on_done:
            made = kept.examples(
                part, n, lambda numbers: simulate_examples(seed, numbers, self.workers, sample),
                on_done,
            )  # fmt: skip
        self._say(f"{part}: {len(made.frames)} frames, {len(made)} candidates")
        return made

    def _finished(
        self,
        network: Locator,
        kept: UnfinishedTraining,
        how: dict[str, Any],
        before: dict[str, Any] | None = None,
    ) -> PeakModel:
        """Calibrate, judge and write; `before` is the provenance of weights that are kept."""
        held = self._simulated("calibrate", kept)
        calibration = calibrate(answers(network, held)[:, 0], held)
        test = self._simulated("test", kept)
        metrics = judge(answers(network, test), calibration, test)
        weights = {
            name: value.numpy()
            for name, value in network.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        made = self._made | {
            "experiments": self.plan.sizes,
            "seconds": round(time.perf_counter() - self._began),
        }
        if self._resume:
            made["resumed"] = True  # the seconds are of its last part
        provenance = made | how if before is None else before | {"calibrated": made}
        model = PeakModel(self.out.name, calibration, RANGES, provenance, metrics)
        return save(self.out, model, weights, card.text(model), overwrite=self._overwrite)


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
    logit = answer[:, 0]
    evidence = evidence_of(calibration, logit, test)
    probability = probabilities(calibration, logit, evidence, test)
    hit = 1 / (1 + np.exp(-np.array([calibration.hit_log_odds(e) for e in evidence])))
    share = zip(evidence, frames["background"], strict=True)
    score = np.array([-calibration.log_blank_share(e, float(b)) for e, b in share]) / np.log(10)
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


def commit() -> str:
    """Return the commit of the source tree the package is in, if it is in one."""
    folder = Path(__file__).resolve().parent
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
