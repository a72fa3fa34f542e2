"""What the runners of all peers share: frames in, found peaks and times out. NumPy only.

A job is a JSON file: ``frames`` (a ``.npy`` file), ``mask``, ``indices``, ``geometries`` (beam
centre in pixels, corner convention, in turn for the frames), ``numbers`` (which of them) and
``settings`` (a list). The answer is an ``.npz`` file: ``peaks``, one row per peak (setting, place
in ``indices``, fs, ss, strength), and ``seconds`` (setting, place).
"""

import json
import sys
import time

import numpy as np


def run(make_finder):
    """Answer the job named on the command line.

    `make_finder(mask, radius_px, settings)` returns two functions: one gives a frame the type the
    finder wants, which is not timed; the other returns an array (n, 3) of fs, ss (corner
    convention) and strength. `radius_px` is each pixel's distance from the beam.
    """
    with open(sys.argv[1]) as file:
        job = json.load(file)
    frames = np.load(job["frames"], mmap_mode="r")
    mask = np.load(job["mask"])
    peaks, seconds = [], np.zeros((len(job["settings"]), len(job["indices"])))
    by_geometry = {}
    for place, number in enumerate(job["numbers"]):
        by_geometry.setdefault(number % len(job["geometries"]), []).append(place)
    for g, places in by_geometry.items():
        radius = beam_distance(mask.shape, job["geometries"][g])
        finders = [make_finder(mask, radius, settings) for settings in job["settings"]]
        for place in places:
            frame = np.array(frames[job["indices"][place]])
            for s, (convert, find) in enumerate(finders):
                image = convert(frame)
                start = time.perf_counter()
                found = find(image)
                seconds[s, place] = time.perf_counter() - start
                label = np.broadcast_to([s, place], (len(found), 2))
                peaks.append(np.concatenate([label, found], 1))
    np.savez(sys.argv[2], peaks=np.concatenate(peaks), seconds=seconds)


def beam_distance(shape, geometry):
    """Distance of each pixel's centre from the beam, in pixels, float32."""
    ss, fs = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(fs + 0.5 - geometry["beam_fs"], ss + 0.5 - geometry["beam_ss"])
    return distance.astype(np.float32)
