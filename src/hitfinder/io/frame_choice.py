"""Some of the frames of a source: numbers and slices, as ``0:2000:10`` or ``5,7,100:``."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.io.composite import CompositeSource
from hitfinder.io.source import FrameSource

FrameChoice = str | int | slice | Iterable[int]
"""Frames as a user names them: text, or a number, slice or numbers in Python."""

_NUMBER = re.compile(r"-?\d{1,18}")
_SLICE = re.compile(r"(-?\d{1,18})?:(-?\d{1,18})?(?::(\d{1,18})?)?")


def choice_text(choice: FrameChoice) -> str:
    """Return a choice of frames as text, which settings and ``run.json`` keep.

    Parameters
    ----------
    choice : str, int, slice or iterable of int
        The frames.

    Raises
    ------
    ConfigError
        If it is none of these.

    Examples
    --------
    >>> choice_text(slice(0, 2000, 10)), choice_text([5, 7])
    ('0:2000:10', '5,7')
    """
    if isinstance(choice, str):
        return choice
    if isinstance(choice, slice):
        start, stop, step = (
            "" if n is None else n for n in (choice.start, choice.stop, choice.step)
        )
        return f"{start}:{stop}" if step == "" else f"{start}:{stop}:{step}"
    try:
        numbers = choice if isinstance(choice, Iterable) else [choice]
        return ",".join(str(operator.index(number)) for number in numbers)
    except TypeError as error:
        what = f"frames must be text, numbers or a slice, got {choice!r}"
        raise ConfigError(what, hint="For example '0:2000:10'.") from error


def slices_of(text: str) -> list[slice]:
    """Read a choice of frames: numbers and slices with commas between.

    Parameters
    ----------
    text : str
        Numbers count from 0, negative ones from the end. A slice ``START:STOP:STEP`` is as in
        Python; its step is positive.

    Raises
    ------
    ValueError
        If the text is anything else.

    Examples
    --------
    >>> slices_of("7,0:100:10")
    [slice(7, 8, None), slice(0, 100, 10)]
    """
    found = []
    for item in (part.strip() for part in text.split(",")):
        if _NUMBER.fullmatch(item):
            number = int(item)
            found.append(slice(number, None if number == -1 else number + 1))
        elif match := _SLICE.fullmatch(item):
            start, stop, step = (None if n is None else int(n) for n in match.groups())
            if step == 0:
                raise ValueError(f"frames {item!r}: the step must be at least 1")
            found.append(slice(start, stop, step))
        else:
            raise ValueError(f"frames {item!r}: neither a number nor START:STOP:STEP")
    return found


def chosen_numbers(n_frames: int, text: str | None, limit: int | None) -> NDArray[np.int64]:
    """Return the numbers of the chosen frames, rising, each once.

    Parameters
    ----------
    n_frames : int
        Frames to choose from.
    text : str, optional
        As for `slices_of`; all frames if not given.
    limit : int, optional
        Take no more than so many, the first.

    Raises
    ------
    ConfigError
        If a number is that of no frame, or no frame is chosen.
    """
    chosen = np.zeros(n_frames, bool)
    for part, item in zip(slices_of(text or ":"), (text or ":").split(","), strict=True):
        if ":" not in item and not -n_frames <= int(item) < n_frames:
            there = f"the inputs hold {n_frames}, 0 to {n_frames - 1}"
            raise ConfigError(f"there is no frame {item.strip()}: {there}")
        chosen[part] = True
    numbers = np.flatnonzero(chosen)[:limit]
    if not len(numbers):
        raise ConfigError(f"frames {text!r} are none of the {n_frames} of the inputs")
    return numbers


def choose_frames(source: FrameSource, text: str | None, limit: int | None) -> FrameSource:
    """Return a source of the chosen frames; the source itself if nothing is chosen.

    Parameters are those of `chosen_numbers`.
    """
    if text is None and limit is None:
        return source
    numbers = chosen_numbers(len(source), text, limit)
    return CompositeSource([source], np.stack([np.zeros_like(numbers), numbers], 1))
