"""The `hitfinder` command: finds its subcommands by name and loads only the one that is run."""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import resource
import sys
import traceback

import click

from hitfinder import __version__, interrupts, logs
from hitfinder.errors import HitfinderError, ShortMemoryError, is_short_of_memory

COMMANDS = {
    "run": (
        "hitfinder.cli.run:run",
        "Find hits and Bragg peaks in frames, write them to a folder.",
    ),
    "live": (
        "hitfinder.cli.live:live",
        "Find hits and Bragg peaks in frames while they come from the detector.",
    ),
    "finish": (
        "hitfinder.cli.finish:finish",
        "Write the results of a live run that was killed.",
    ),
    "index": (
        "hitfinder.cli.index:index",
        "Orient the crystals of a run's hits; the unit cell is known.",
    ),
    "rehit": (
        "hitfinder.cli.rehit:rehit",
        "Decide anew which frames of a run are hits, without running again.",
    ),
    "monitor": (
        "hitfinder.cli.monitor:monitor",
        "Show a run, finished or not, on a page in the browser.",
    ),
    "view": ("hitfinder.cli.view:view", "Draw one frame with its peaks."),
    "info": ("hitfinder.cli.info:info", "Say what is in a file, and what is wrong with it."),
    "simulate": ("hitfinder.cli.simulate:simulate", "Simulate frames with known peaks."),
    "plan": ("hitfinder.cli.plan:plan", "Say how many pulses an experiment needs."),
    "stream-sim": (
        "hitfinder.cli.stream_sim:stream_sim",
        "Send frames as a detector streams them, with faults if asked.",
    ),
    "demo": ("hitfinder.cli.demo:demo", "Simulate, run and compare with the truth, in one go."),
    "dataset": (
        "hitfinder.cli.dataset:dataset",
        "Build, import, check and split trees of labelled frames.",
    ),
    "train": ("hitfinder.cli.train:train", "Train a network on a tree of frames."),
    "evaluate": (
        "hitfinder.cli.evaluate:evaluate",
        "Judge a trained network by a tree, or finders by a suite.",
    ),
    "reproduce": (
        "hitfinder.cli.reproduce:reproduce",
        "Repeat the CXLS report's study, beside ours.",
    ),
    "models": ("hitfinder.cli.models:models", "List networks, describe trained ones."),
    "detectors": (
        "hitfinder.cli.detectors:detectors",
        "List the detectors that are known by name.",
    ),
    "geometry-template": (
        "hitfinder.cli.geometry_template:geometry_template",
        "Write a CrystFEL geometry file to start from.",
    ),
    "plugins": (
        "hitfinder.cli.plugins:plugins",
        "List finders, readers, outputs and networks, and whose they are.",
    ),
    "compile": (
        "hitfinder.cli.compile:compile_code",
        "Compile the code before the first run, as a step of an installation.",
    ),
    "completion": ("hitfinder.cli.completion:completion", "Print a shell completion script."),
}
"""Subcommand -> where it is, and its line in ``hitfinder --help``."""

OTHER_COMMANDS = {
    "check": "info",
    "find": "run",
    "gui": "monitor",
    "indexamajig": "index",
    "plot": "view",
    "process": "run",
    "show": "view",
}
"""What a subcommand is called elsewhere -> what it is called here."""

OTHER_OPTIONS = {
    "--camera-length": "--camera-length-m",
    "--center": "--beam-center",
    "--clen": "--camera-length-m",
    "--clobber": "--overwrite",
    "--cores": "--workers",
    "--cpus": "--workers",
    "--detector-distance": "--camera-length-m",
    "--distance": "--camera-length-m",
    "--energy": "--photon-energy-ev",
    "--force": "--overwrite",
    "--jobs": "--workers",
    "--nproc": "--workers",
    "--orgx": "--beam-center",
    "--output-dir": "--out",
    "--pdb": "--cell",
    "--photon-energy": "--photon-energy-ev",
    "--processes": "--workers",
    "--threads": "--workers",
    "--unit-cell": "--cell",
    "--wavelength": "--photon-energy-ev",
}
"""What an option is called elsewhere -> what it is called here."""

BAD_INPUT, BUG, INTERRUPTED, BROKEN_PIPE = 2, 70, 130, 141
"""Exit codes: 70 as in sysexits.h; 128 + the signal's number where a signal ended the command, as
shells have it."""

TOO_LITTLE_MEMORY, LEAST_MEMORY = 1000 << 20, 1500 << 20
"""Bytes of address space with fewer of which nothing can be done; and below which it is said
beforehand that they may not be enough."""


class ReaderGoneError(Exception):
    """What was to read the standard output has closed it."""


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is asked for, not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand that the first argument names, or suggest the nearest one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            other = OTHER_COMMANDS.get(args[0])
            close = [other] if other else difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand; a closed standard output is told from errors of files."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  hitfinder info run7_master.h5
  hitfinder run run7_master.h5 --out run7
  hitfinder view run7_master.h5 //12 --run run7

\b
Exit codes: 0 done; 1 done, but some frames could not be read; 2 wrong usage or
bad input; 70 an error in hitfinder, please report it; 130 interrupted.
""",
)
@click.version_option(__version__, message="hitfinder %(version)s")
@click.option("-v", "--verbose", count=True, help="Say more; with times.")
@click.option("-q", "--quiet", count=True, help="Say less: -q only warnings, -qq only errors.")
def cli(verbose: int, quiet: int) -> None:
    """Find hits and Bragg peaks in serial crystallography frames, also very weak ones."""
    logs.configure(verbose - quiet)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    if limit < TOO_LITTLE_MEMORY:
        # Libraries ask for memory without end, or crash, while they are loaded.
        raise HitfinderError(
            f"memory is limited to {limit >> 20} MB (`ulimit -v`): "
            f"{LEAST_MEMORY >> 20} MB or more are needed"
        )
    if limit < LEAST_MEMORY:
        # A compiler that gets no memory ends the process without a word of ours.
        logging.getLogger("hitfinder").warning(
            "memory is limited to %d MB (`ulimit -v`), and less than %d MB may not be enough",
            *(limit >> 20, LEAST_MEMORY >> 20),
        )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        with interrupts.repeated(), interrupts.terminate_as_interrupt():
            code = cli.main(arguments, prog_name="hitfinder", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _helped(error).show()
        code = error.exit_code
    except HitfinderError as error:
        code = _complain(str(error))
    except (KeyboardInterrupt, click.Abort):
        code = _interrupted()
    except (ReaderGoneError, BrokenPipeError):
        # Python flushes standard output once more at exit; let that not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    except Exception as error:
        logging.getLogger("hitfinder").debug("", exc_info=True)
        if is_short_of_memory(error):
            code = _complain(str(ShortMemoryError()))
        elif isinstance(error, OSError):
            code = _complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
        elif _is_due_to_ctrl_c(error):
            code = _interrupted()
        else:
            traceback.print_exc()
            click.echo("hitfinder: this is an error in hitfinder, please report it", err=True)
            code = BUG
    sys.exit(code if isinstance(code, int) else 0)


def _is_due_to_ctrl_c(error: BaseException) -> bool:
    """Tell whether a library, such as Numba, took the interruption for a fault of its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, KeyboardInterrupt)


def _helped(error: click.ClickException) -> click.ClickException:
    """Add to what is said of a wrong option what is most likely meant."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        meant = OTHER_OPTIONS.get(error.option_name.lower())
        if meant and any(meant in param.opts for param in error.ctx.command.params):
            return click.UsageError(f"{error.message} Did you mean {meant!r}?", error.ctx)
    elif isinstance(error, click.BadOptionUsage) and " arguments" in error.message:
        text = f"{error.message} Put spaces between them."
        return click.BadOptionUsage(error.option_name, text, error.ctx)
    return error


def _interrupted() -> int:
    click.echo("hitfinder: interrupted", err=True)
    return INTERRUPTED


def _complain(text: str) -> int:
    click.echo(f"hitfinder: error: {text}", err=True)
    return BAD_INPUT


if __name__ == "__main__":
    main()
