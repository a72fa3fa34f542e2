"""The model card: what a peak model is, what made it, how good it is, where it fails."""

from __future__ import annotations

from hitfinder.network.model import PeakModel

_TEXT = """# {name}

Judges candidate Bragg peaks in low-flux frames: probability, position, photons with their standard
deviation, and from all candidates of a frame the probability of a hit. A convolutional network of
seven 3×3 layers on 15×15 pixels of counts and expected background; see `docs/networks.md`.

## Training

| | |
|---|---|
| command | `{command}` |
| commit | `{commit}` |
| seed | {seed} |
| made by | {made_by}, torch {torch}, {seconds} s |
| frames | {frames} |{calibrated}

Frames are simulated: crystals of six lattice systems with random structure factors, one lattice or
several, spots from a fraction of a pixel to long streaks, water, solution, ice, parasitic
scattering, texture, shadows, gaps, dead pixels, tilted detectors, beam centres off by a pixel.

| quantity | from | to |
|---|---|---|
{ranges}

## Metrics

On frames that neither the fit nor the calibration saw, of the same ranges:

| metric | value |
|---|---|
{metrics}

## Known failures

- Salt, ice grains and other crystals give Bragg peaks, and are called so.
- A hot pixel that is not masked looks like a spot smaller than a pixel.
- Spots under four pixels apart are taken as one, unless a gap divides them.
- The hit probability supposes that hits and blank frames are equally many, and hits as strong as in
  training: many of those hold a few photons in all.
- Outside the ranges above nothing is known; `hitfinder run` warns of photon energy, camera length
  and background.
"""


def text(model: PeakModel) -> str:
    """Write the model card of a model."""
    made = model.provenance
    frames = ", ".join(f"{12 * n} to {part}" for part, n in made["experiments"].items())
    ranges = "\n".join(f"| {k} | {low:g} | {high:g} |" for k, (low, high) in model.ranges.items())
    metrics = "\n".join(f"| {k.replace('_', ' ')} | {v:g} |" for k, v in model.metrics.items())
    told = {k: made[k] for k in ("command", "commit", "seed", "made_by", "torch", "seconds")}
    again = made.get("calibrated")
    told["calibrated"] = ""
    if again:
        told["calibrated"] = f"\n| calibrated | `{again['command']}`, commit `{again['commit']}` |"
    return _TEXT.format(name=model.name, frames=frames, ranges=ranges, metrics=metrics, **told)
