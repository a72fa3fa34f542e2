"""peakfinder8 as OM (ondamonitor) ships it, with its fast mode."""

import numpy as np

from job import run

# OM names types that NumPy 2 dropped.
vars(np).update(float_=np.float64)
from om.algorithms.crystallography import Peakfinder8PeakDetection  # noqa: E402


def make_finder(mask, radius_px, settings):
    n_ss, n_fs = mask.shape
    parameters = {
        "max_num_peaks": 5000,
        "adc_threshold": float(settings["adc_threshold"]),
        "minimum_snr": float(settings["min_snr"]),
        "min_pixel_count": settings["min_pixels"],
        "max_pixel_count": 200,
        "local_bg_radius": settings["background_radius"],
        "min_res": 0,
        "max_res": 100000,
        "fast_mode": bool(settings["fast"]),
    }
    layout = {"asic_nx": n_fs, "asic_ny": n_ss, "nasics_x": 1, "nasics_y": 1}
    detection = Peakfinder8PeakDetection(
        crystallography_parameters=parameters,
        radius_pixel_map=radius_px,
        layout_info=layout,
    )
    detection.set_bad_pixel_map(~mask)

    def convert(frame):
        return frame.astype(np.float32)

    def find(image):
        peaks = detection.find_peaks(data=image)
        position = np.add(np.stack([peaks["fs"], peaks["ss"]], 1), 0.5)
        return np.concatenate([position, np.reshape(peaks["intensity"], (-1, 1))], 1)

    return convert, find


if __name__ == "__main__":
    run(make_finder)
