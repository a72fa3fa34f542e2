import numpy as np

from hitfinder.study.dataset.labels import label_map, peaks_of_map


def test_pixels_with_enough_photons_are_marked():
    bragg = np.array([[0, 2, 3], [9, 0, 1]], np.uint16)
    assert label_map(bragg).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert label_map(bragg, 1).sum() == 4


def test_peaks_of_a_map_are_where_the_photons_were():
    bragg = np.zeros((20, 30), np.uint16)
    bragg[4, 7] = 10
    bragg[10, 20], bragg[11, 21] = 30, 10  # touching by a corner: one peak
    positions, totals = peaks_of_map(label_map(bragg), bragg)
    assert positions.tolist() == [[7.5, 4.5], [20.75, 10.75]]
    assert totals.tolist() == [10, 40]
    positions, totals = peaks_of_map(label_map(bragg))
    assert positions[1].tolist() == [21.0, 11.0]
    assert totals.tolist() == [1, 2]


def test_an_empty_map_has_no_peaks():
    positions, totals = peaks_of_map(np.zeros((5, 5)))
    assert positions.shape == (0, 2)
    assert totals.shape == (0,)
