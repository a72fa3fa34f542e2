"""peakfinder8 as cfelpyutils ships it."""

import numpy as np
from cfelpyutils.peakfinding.lib.peakfinder8_extension import peakfinder_8

from job import run


def make_finder(mask, radius_px, settings):
    good = (~mask).astype(np.int8)
    n_ss, n_fs = mask.shape

    def convert(frame):
        return frame.astype(np.float32)

    def find(image):
        fs, ss, intensity = peakfinder_8(
            5000,
            image,
            good,
            radius_px,
            n_fs,
            n_ss,
            1,
            1,
            settings["adc_threshold"],
            settings["min_snr"],
            settings["min_pixels"],
            200,
            settings["background_radius"],
        )[:3]
        # It counts pixel centres from 0.
        return np.stack([np.add(fs, 0.5), np.add(ss, 0.5), np.asarray(intensity, float)], 1)

    return convert, find


if __name__ == "__main__":
    run(make_finder)
