"""Outputs by name, and those of a job."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from hitfinder.errors import ConfigError, OutputError
from hitfinder.job.outputs.contract import Output
from hitfinder.job.outputs.findings import Findings
from hitfinder.job.settings import OutputSettings
from hitfinder.plugins import Registry
from hitfinder.results.run import RUN

OUTPUTS = Registry(
    "output",
    "hitfinder.outputs",
    {
        "tables": "hitfinder.job.outputs.tables:TablesOutput",
        "lst": "hitfinder.job.outputs.tables:ListOutput",
        "cxi": "hitfinder.job.outputs.crystfel:CxiOutput",
        "report": "hitfinder.job.outputs.page:ReportOutput",
    },
)
"""What `--output` takes."""

_HINT = "What was found is kept: mend the output or leave it out, and use --resume."


def outputs() -> dict[str, str]:
    """Return the outputs that are registered, plug-ins included: name and ``module:Class``.

    Examples
    --------
    >>> import hitfinder as hf
    >>> hf.outputs()["report"]
    'hitfinder.job.outputs.page:ReportOutput'
    """
    return OUTPUTS.paths()


def make_outputs(settings: OutputSettings) -> dict[str, Output]:
    """Return the outputs of a job by name.

    Raises
    ------
    ConfigError
        If there is none of a name, it cannot be built or is none, or two write the same file.
    """
    made: dict[str, Output] = {}
    writers = {RUN: "hitfinder itself"}
    for name in settings.names:
        made[name] = _made(name, settings)
        for file in made[name].files:
            if file in writers:
                both = f"{writers[file]} and output {name!r}"
                raise ConfigError(f"{both} both write {file}", hint="Leave one of them out.")
            writers[file] = f"output {name!r}"
    return made


def _made(name: str, settings: OutputSettings) -> Output:
    build, found = OUTPUTS.load(name), OUTPUTS.find(name)
    hint = f"It is from {found.origin}."
    with found.answering(
        lambda why: ConfigError(f"output {name!r} cannot be built ({why})", hint=hint)
    ):
        made = build(settings)
    if not isinstance(made, Output):
        raise ConfigError(f"{name!r} is no output: it lacks files or write", hint=hint)
    if not (isinstance(made.files, tuple) and all(map(is_plain_name, made.files))):
        what = f"output {name!r}: files must be a tuple of names of files, is {made.files!r}"
        raise ConfigError(what, hint=hint)
    return made


def is_plain_name(name: object) -> bool:
    """Say whether this is the name of a file, and no path and nothing hidden."""
    return isinstance(name, str) and Path(name).name == name and name[:1] not in ("", ".")


def prepare_outputs(outputs: Mapping[str, Output], found: Findings, folder: Path) -> None:
    """Have outputs prepared, beside this process too.

    Raises
    ------
    OutputError
        If one of another package fails.
    """

    def each(step: str) -> None:
        for name, output in outputs.items():
            with _answering(name, folder):
                getattr(output, step, lambda found: None)(found)

    each("share")
    found.beside.start()
    each("prepare")


def write_output(name: str, output: Output, found: Findings, folder: Path) -> None:
    """Have an output written; what goes wrong in one of another package is told as such.

    Raises
    ------
    OutputError
        If it cannot be written, or did not write what it says it writes.
    """
    with _answering(name, folder):
        output.write(found, folder)
    missing = [file for file in output.files if not (folder / file).is_file()]
    if missing:
        told = f"{_told(name)} did not write {', '.join(missing)}"
        raise OutputError(told, str(folder), _HINT)


def _answering(name: str, folder: Path) -> AbstractContextManager[None]:
    return OUTPUTS.find(name).answering(
        lambda why: OutputError(f"{_told(name)} fails ({why})", str(folder), _HINT)
    )


def _told(name: str) -> str:
    return f"output {name!r} of {OUTPUTS.find(name).origin}"
