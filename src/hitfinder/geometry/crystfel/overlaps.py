"""Panels that claim the same pixels of a dataset."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from hitfinder.geometry.crystfel.entries import PanelEntry


def overlapping(panels: Sequence[PanelEntry]) -> Iterator[tuple[PanelEntry, PanelEntry]]:
    """Find panels that share pixels with others, in a time that hardly grows faster than they.

    The rows of each dataset are gone through from the first; the panels that lie on a row are kept
    in the order of their columns. A panel that overlaps another is not kept.

    Yields
    ------
    tuple of PanelEntry
        A panel that overlaps another, after the other one.
    """
    slabs: dict[object, list[PanelEntry]] = {}
    for panel in panels:
        slabs.setdefault(panel.slab_key, []).append(panel)
    for members in slabs.values():
        yield from _overlapping(members)


def _overlapping(panels: list[PanelEntry]) -> Iterator[tuple[PanelEntry, PanelEntry]]:
    open_: list[tuple[int, int]] = []
    """First column, and number in `panels`, of the panels on the row."""
    begins = [(panel.min_ss, 1, number) for number, panel in enumerate(panels)]
    ends = [(panel.max_ss + 1, 0, number) for number, panel in enumerate(panels)]
    for _, is_begin, number in sorted(begins + ends):
        panel = panels[number]
        place = bisect.bisect(open_, (panel.min_fs, number))
        if not is_begin:
            if place and open_[place - 1] == (panel.min_fs, number):
                del open_[place - 1]
            continue
        near = [open_[i][1] for i in (place - 1, place) if 0 <= i < len(open_)]
        shared = [
            n for n in near if panels[n].min_fs <= panel.max_fs and panel.min_fs <= panels[n].max_fs
        ]
        if shared:
            first, second = sorted((shared[0], number))
            yield panels[first], panels[second]
        else:
            open_.insert(place, (panel.min_fs, number))
