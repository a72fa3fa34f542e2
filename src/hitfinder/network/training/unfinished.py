"""What an unfinished training has so far, kept on disk so that a killed one can go on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hitfinder.atomic import clear_unfinished, make_folder, replacing
from hitfinder.errors import ConfigError, OutputError
from hitfinder.locks import locked
from hitfinder.network.training.examples import Examples
from hitfinder.sealed import read_arrays, write_arrays

WORK, SETTINGS = "training", "settings.json"
EXPERIMENTS_PER_FILE = 25
"""Their frames are simulated in 5 to 15 s on two cores: what a kill loses."""

_FIT = "fit.dat"


class UnfinishedTraining:
    """The folder ``training`` of an unfinished training.

    Files appear whole or not at all, and end with a checksum: one that is damaged counts as
    missing, and what it held is made again.

    Parameters
    ----------
    folder : Path
        The folder, which exists and which no other process writes to; see `unfinished`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def examples(
        self,
        part: str,
        n_experiments: int,
        simulate: Callable[[range], Iterable[Examples]],
        on_done: Callable[[int], None],
    ) -> Examples:
        """Return the examples of a part, those that are missing simulated and kept.

        Parameters
        ----------
        part : str
            What they serve for.
        n_experiments : int
            How many experiments they are of.
        simulate : callable
            Gives the examples of each experiment of a range, in order.
        on_done : callable
            Told how many experiments are done.
        """
        made: list[Examples] = []
        done = 0
        while done < n_experiments and (found := read_arrays(self._file(part, done))) is not None:
            made.append(Examples(**found))
            done = min(done + EXPERIMENTS_PER_FILE, n_experiments)
        on_done(done)
        group: list[Examples] = []
        for experiment in simulate(range(done, n_experiments)):
            group.append(experiment)
            on_done(1)
            if len(group) == EXPERIMENTS_PER_FILE or done + len(group) == n_experiments:
                made.append(Examples.joined(group))
                write_arrays(self._file(part, done), _arrays_of(made[-1]))
                done, group = done + len(group), []
        return Examples.joined(made)

    @property
    def fit(self) -> dict[str, Any] | None:
        """The state of the fit that was kept last; None if there is none."""
        return read_arrays(self.folder / _FIT)

    def keep_fit(self, state: dict[str, Any]) -> None:
        """Keep the state of the fit.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        write_arrays(self.folder / _FIT, state)

    def _file(self, part: str, first: int) -> Path:
        return self.folder / f"{part}-{first:06d}.dat"


def is_begun(out: Path) -> bool:
    """Return whether there is an unfinished training in the folder of a model."""
    return (out / WORK / SETTINGS).exists()


@contextlib.contextmanager
def unfinished(
    out: Path, asked: dict[str, Any], *, resume: bool, overwrite: bool
) -> Iterator[UnfinishedTraining]:
    """Begin a training in a folder, or go on with one; no other process can in the block.

    What is kept is deleted when the block ends well.

    Parameters
    ----------
    out : Path
        Folder of the model.
    asked : dict
        All that the outcome depends on; it fits JSON.
    resume : bool
        Go on with what is there.
    overwrite : bool
        Delete what is there, if it is not to be gone on with.

    Raises
    ------
    OutputError
        If there is a training and it is neither to be resumed nor replaced, another process
        writes here, or nothing can be written.
    ConfigError
        If what is there is another training, or nothing can be told of it.
    """
    folder = out / WORK
    if folder.is_symlink():
        raise OutputError("a link, where a folder is needed", str(folder))
    make_folder(folder)
    with locked(out, "training"):
        clear_unfinished(folder)
        clear_unfinished(out)
        settings = folder / SETTINGS
        if is_begun(out) and not (resume or overwrite):
            hint = "Go on with it by --resume, or give --overwrite."
            raise OutputError("there is a training already", str(out), hint)
        if is_begun(out) and resume:
            anew = "begin anew by --overwrite."
            check_same(settings, asked, anew.capitalize(), f"Give it as it was, or {anew}")
        else:
            _clear(folder)
            with replacing(settings) as part:
                part.write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")
        yield UnfinishedTraining(folder)
        _clear(folder)
        with contextlib.suppress(OSError):  # something else is in it
            folder.rmdir()


def check_same(settings: Path, asked: dict[str, Any], if_damaged: str, if_other: str = "") -> None:
    """See that what was asked of a training that is to be gone on with is what is asked now.

    Parameters
    ----------
    settings : Path
        File of what was asked.
    asked : dict
        What is asked; it fits JSON.
    if_damaged, if_other : str
        What to do if the file cannot be read, or says something else.

    Raises
    ------
    ConfigError
        If it is not the same, or cannot be told.
    """
    try:
        there = json.loads(settings.read_text(encoding="utf-8"))
        changed = [key for key in asked if there.get(key) != json.loads(json.dumps(asked[key]))]
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise ConfigError(f"cannot be read: {error}", str(settings), if_damaged) from error
    if changed:
        what = f"the training to go on with has another {changed[0]}"
        raise ConfigError(what, str(settings), if_other)


def _clear(folder: Path) -> None:
    """Delete what is kept; the settings first, without which nothing is gone on with."""
    (folder / SETTINGS).unlink(missing_ok=True)
    for path in folder.glob("*.dat"):
        path.unlink(missing_ok=True)


def _arrays_of(examples: Examples) -> dict[str, Any]:
    return {field.name: getattr(examples, field.name) for field in dataclasses.fields(examples)}
