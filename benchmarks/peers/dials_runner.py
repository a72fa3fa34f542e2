"""DIALS' threshold algorithms and pixel-to-spot steps, in process.

The steps are those of `dials.find_spots` on one image: threshold, connected pixels, spots by size,
centroid of the counts, and the filter on the distance from the brightest pixel to the centroid.
"""

import numpy as np
from dials.algorithms.image.threshold import DispersionExtendedThreshold, DispersionThreshold
from dials.array_family import flex
from dials.model.data import PixelList, PixelListLabeller
from dxtbx import flumpy

from job import run

ALGORITHMS = {
    "dispersion": DispersionThreshold,
    "dispersion_extended": DispersionExtendedThreshold,
}
MIN_LOCAL = 2
MAX_PIXELS = 1000
MAX_SEPARATION = 2


def make_finder(mask, radius_px, settings):
    good = flumpy.from_numpy(np.ascontiguousarray(~mask))
    kernel = settings["kernel"]
    threshold = ALGORITHMS[settings["algorithm"]](
        mask.shape,
        (kernel, kernel),
        settings["sigma_background"],
        settings["sigma_strong"],
        settings["global_threshold"],
        MIN_LOCAL,
    )

    def convert(frame):
        frame = frame.astype(np.int32)
        return flumpy.from_numpy(frame), flumpy.from_numpy(frame.astype(np.float64))

    def find(image):
        counts, values = image
        strong = flex.bool(good.accessor())
        threshold(values, good, strong)
        if not strong.count(True):
            return np.empty((0, 3))
        labeller = PixelListLabeller()
        labeller.add(PixelList(0, counts, strong))
        creator = flex.PixelListShoeboxCreator(
            labeller, 0, 0, True, settings["min_pixels"], MAX_PIXELS, False
        )
        boxes = creator.result()
        boxes = boxes.select(boxes.is_allocated())
        if not len(boxes):
            return np.empty((0, 3))
        centroids = boxes.centroid_valid()
        position = np.array(centroids.px_position()).reshape(-1, 3)
        intensity = np.array(boxes.summed_intensity().observed_value())
        peak = np.array(boxes.peak_coordinates()).reshape(-1, 3)
        near = np.hypot(*(peak - position)[:, :2].T) <= MAX_SEPARATION
        return np.concatenate([position[:, :2], intensity[:, None]], 1)[near]

    return convert, find


if __name__ == "__main__":
    run(make_finder)
