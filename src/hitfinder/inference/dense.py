"""The locator on every pixel of a frame, in PyTorch, for a GPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from hitfinder.errors import ConfigError
from hitfinder.geometry.experiment import Geometry
from hitfinder.inference.crowded import crowded_rings
from hitfinder.inference.locator import NetworkFinder
from hitfinder.inference.peaks import PEAK_DTYPE
from hitfinder.inference.results import Proposal
from hitfinder.inference.settings import FinderSettings
from hitfinder.models.agreement import torch_locator
from hitfinder.models.locator_input import LARGEST, SIZE, radial_direction

LEAST_LOGIT = 2.0
"""Log odds from which a pixel that the finder did not propose becomes a candidate: high enough for
chance to be as rare among the added ones as the calibration has it among those proposed."""

_ROWS = 512
_APART_PX = 4.0


class DenseFinder(NetworkFinder):
    """Finds peaks as `NetworkFinder` does, and those that the likelihood finder does not propose.

    Parameters
    ----------
    geometry : Geometry
        Detector, mask, camera length and beam.
    settings : FinderSettings
        What to call a peak and a hit, and which model to use.
    device : str
        PyTorch's name of the device.
    dtype : torch.dtype, optional
        Type of the numbers in the network. By default float16 on a GPU, which has fast units for
        it, and float32 elsewhere.

    Raises
    ------
    ConfigError
        If there is no such device.
    hitfinder.models.peak_model.ModelError
        If the model cannot be used.
    """

    def __init__(
        self,
        geometry: Geometry,
        settings: FinderSettings | None = None,
        device: str = "cuda",
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(geometry, settings)
        try:
            self._device = torch.device(device)
            is_gpu = self._device.type == "cuda"
            self._dtype = dtype or (torch.float16 if is_gpu else torch.float32)
            network = torch_locator(self.model).to(self._device, self._dtype)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"device {device!r} cannot be used: {error}") from error
        self._network = network.to(memory_format=torch.channels_last)
        rings, pixels = self.finder.rings, geometry.pixels
        self._position = self._sent(rings.position - 0.5)
        self._weight = self._sent(rings.weight)
        direction = radial_direction(np.nan_to_num(pixels.x), np.nan_to_num(pixels.y))
        self._direction = self._sent(direction).movedim(-1, 0)

    def _sent(self, values: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self._device)

    def _judged(self, proposed: Proposal) -> tuple[NDArray[np.void], NDArray[np.float32]]:
        peaks, logit = super()._judged(proposed)
        extra, extra_logit = self._unproposed(proposed, peaks)
        peaks, logit = np.concatenate([peaks, extra]), np.concatenate([logit, extra_logit])
        order = np.argsort(-logit, kind="stable")
        return peaks[order], logit[order]

    def _unproposed(
        self, proposed: Proposal, peaks: NDArray[np.void]
    ) -> tuple[NDArray[np.void], NDArray[np.float32]]:
        """Likely peaks that are near no candidate, and their logits."""
        answers, background, counts = self._answers(proposed)
        logit = answers[0]
        top = nn.functional.max_pool2d(logit[None, None], 5, 1, 2)[0, 0]
        at = torch.nonzero((logit == top) & (logit >= LEAST_LOGIT) & (counts >= 0))
        values = answers[:, at[:, 0], at[:, 1]].cpu().numpy()
        mean, n = _window(background, counts, at)
        rows, columns = at.cpu().numpy().T
        out = np.zeros(len(rows), PEAK_DTYPE)
        out["fs"], out["ss"] = columns + 0.5 + values[1], rows + 0.5 + values[2]
        root = np.maximum(values[4] + np.sqrt(np.maximum(n - mean, 1.0)), 0)
        out["photons"], out["photons_sigma"] = root**2, 2 * root * np.exp(values[5])
        out["background"], out["n_pixels"] = mean, 9
        out["snr"] = (n - mean) / np.sqrt(np.maximum(n, 1.0))
        out["log_p"] = np.nan
        ring = self.finder.rings.index[rows, columns]
        keep = ~(proposed.crowded | crowded_rings(ring, len(proposed.crowded)))[ring]
        if len(peaks) and len(out):
            tree = cKDTree(np.stack([peaks["fs"], peaks["ss"]], 1))
            keep &= tree.query(np.stack([columns + 0.5, rows + 0.5], 1))[0] > _APART_PX
        return out[keep], values[0][keep]

    def _answers(self, proposed: Proposal) -> tuple[Tensor, Tensor, Tensor]:
        """Run the locator on the whole frame.

        Returns
        -------
        answers : Tensor, shape (number of outputs, rows, columns)
            What it says of each pixel.
        background, counts : Tensor, shape (rows, columns)
            Expected photons; counts, -1 where there is no reading.
        """
        counts = torch.from_numpy(proposed.counts).to(self._device)
        counts = torch.maximum(counts, -2 - counts)
        background = self._background(proposed.rate) * (counts >= 0)
        half = SIZE // 2
        around = (half,) * 4
        own, known = self._channels(counts, background, proposed.texture)
        # Beyond the edge there is no reading; direction and texture are as at the edge.
        own = nn.functional.pad(own[None], around)
        known = nn.functional.pad(known[None], around, mode="replicate")
        padded = torch.cat([own, known], 1)
        out = []
        with torch.inference_mode():
            for start in range(0, counts.shape[0], _ROWS):
                part = padded[:, :, start : start + _ROWS + 2 * half]
                part = part.to(self._dtype, memory_format=torch.channels_last)
                out.append(self._network(part)[0].float())
        return torch.cat(out, 1), background, counts

    def _background(self, rate: NDArray[np.float64]) -> Tensor:
        """Interpolate the rates between rings, as `hitfinder.inference.local.expected` does."""
        rates = self._sent(rate)
        place = self._position.clamp(0, len(rate) - 1)
        low = place.long().clamp(max=max(len(rate) - 2, 0))
        high = (low + 1).clamp(max=len(rate) - 1)
        part = place - low
        return self._weight * (rates[low] + part * (rates[high] - rates[low]))

    def _channels(
        self, counts: Tensor, background: Tensor, texture: float
    ) -> tuple[Tensor, Tensor]:
        """Make the maps, as `hitfinder.models.locator_input.channels` does.

        Returns
        -------
        own, known : Tensor, shape (4, rows, columns) and (3, rows, columns)
            What is read from the pixels; direction, here each pixel's own, and texture.
        """
        good = counts >= 0
        n, mean = counts.clamp(min=0).float(), background.clamp(min=1e-6)
        root = 2 * (torch.sqrt(n + 0.375) - torch.sqrt(mean + 0.375))
        deviance = (2 * (torch.special.xlogy(n, n / mean) + mean - n)).clamp(min=0).sqrt()
        signed = torch.where(n > mean, deviance.clamp(max=LARGEST), -deviance)
        rough = torch.full_like(n, (np.log(texture + 1e-5) + 7.0) / 4.0)
        log_mean = (torch.log(mean + 1e-4) + 3.0) / 4.0
        own = torch.stack([root.clamp(max=LARGEST) / 3.0, signed / 3.0, log_mean, good.float()])
        return own * good, torch.cat([self._direction, rough[None]])


def _window(
    background: Tensor, counts: Tensor, at: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the expected photons and the counts on the 3×3 pixels around places."""
    sums = []
    for values in (background, counts.clamp(min=0).float()):
        total = 9 * nn.functional.avg_pool2d(values[None, None], 3, 1, 1)[0, 0]
        sums.append(total[at[:, 0], at[:, 1]].cpu().numpy().astype(float))
    return sums[0], sums[1]
