"""`hitfinder evaluate`: how well a network does on a tree of frames, or finders on a suite."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hitfinder.cli.cluster import chosen_executor, cluster_options
from hitfinder.cli.options import POSITIVE
from hitfinder.cli.selection import selection_from, selection_options

if TYPE_CHECKING:
    from hitfinder.executors.contract import Executor
    from hitfinder.suite.run import Suite

EPILOG = """\b
Examples:
  hitfinder evaluate peak/ --data images/
  hitfinder evaluate peak/ --data other/ --part all --out peak-on-other
  hitfinder evaluate peak/ --data other/ --cluster slurm --cluster-option workers=16
  hitfinder evaluate --suite low-flux --quick --out judged
  hitfinder evaluate --suite low-flux --real frame.cbf --peers answers/ --out judged
  hitfinder evaluate --suite low-flux --finder mine:Finder --finder network --out judged
  hitfinder evaluate --suite known-crystal --structure mine.pdb --out judged

\b
What is written to the folder: evaluation.html, metrics.json, and each figure as PNG;
of a suite suite.html, results.json and its figures.
"""
_ONLY_LOW_FLUX = ("peers", "frames", "real", "finder")
_ONLY_KNOWN = ("structure", "cell", "space_group")
_ONLY_SUITE = (*_ONLY_LOW_FLUX, *_ONLY_KNOWN, "pattern_sim", "only", "quick")
_READERS = 2
_ONLY_TRAINED = ("data", "settings", "photon_energy_ev", "camera_length_m")


@click.command(epilog=EPILOG)
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--data", metavar="DIR", help="Tree of frames.")
@click.option(
    "--part",
    type=click.Choice(["test", "train", "all"]),
    default="test",
    show_default=True,
    help="Part of the tree to judge by.",
)
@click.option("--out", metavar="DIR", help="Folder to write to.  [default: MODEL/evaluation]")
@click.option(
    "--tolerance-px",
    type=POSITIVE,
    default=3.0,
    show_default=True,
    metavar="PX",
    help="Largest distance of a found peak from the true one.",
)
@click.option("--overwrite", is_flag=True, help="Replace an evaluation that is there.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    help="Processes that read the tree; with --cluster or --suite known-crystal, that do the work."
    "  [default: 2; of a suite: 1]",
)
@click.option(
    "--suite",
    metavar="NAME",
    help="Judge by a suite instead: low-flux for finders, known-crystal for the search of all"
    " pixels for a crystal.",
)
@click.option("--quick", is_flag=True, help="Fewer frames of the suite.")
@click.option(
    "--finder",
    multiple=True,
    metavar="NAME",
    help="Finder to judge: a name of 'hitfinder plugins', or your own as module:Class; once for"
    " each.  [default: ours]",
)
@click.option("--only", multiple=True, metavar="PREFIX", help="Conditions whose name starts so.")
@click.option("--pattern-sim", metavar="FILE", help="Bragg frames by pattern_sim to add water to.")
@click.option("--real", multiple=True, metavar="FILE", help="Measured frame to thin.")
@click.option("--peers", metavar="DIR", help="What other programs found in the suite's frames.")
@click.option("--frames", metavar="DIR", help="Keep the suite's frames here, or take them from it.")
@click.option(
    "--structure",
    metavar="FILE",
    help="PDB, mmCIF, MTZ or .hkl file of the known crystal.  [default: proteinase K]",
)
@click.option(
    "--cell",
    metavar="CELL",
    help="Its cell, as for 'hitfinder index'; without --structure, one is drawn at random in it.",
)
@click.option("--space-group", metavar="NAME", help="Its space group, before what the file says.")
@cluster_options
@selection_options
def evaluate(model: str | None, **given: Any) -> None:
    """Judge the trained network MODEL by the frames of a tree, or finders by a suite.

    The suite known-crystal judges how weak a crystal is found in all pixels of a frame: with its
    structure, its cell alone, a wrong structure in the same cell, and a wrong cell.
    """
    if given["suite"] is None:
        if model is None or given["data"] is None:
            raise click.UsageError("Give a MODEL and --data, or --suite.")
        _refuse(given, _ONLY_SUITE, "goes with --suite only")
        _evaluate_trained(model, given)
        return
    if model is not None:
        raise click.UsageError("Give a MODEL or --suite, not both.")
    _refuse(given, _ONLY_TRAINED, "does not go with --suite")
    if given["out"] is None:
        raise click.UsageError("Give --out with --suite.")
    _evaluate_suite(given)


def _refuse(given: dict[str, Any], names: tuple[str, ...], why: str) -> None:
    for name in names:
        if given[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}.")


def _executor(given: dict[str, Any]) -> AbstractContextManager[Executor | None]:
    return chosen_executor(given["cluster"], given["cluster_given"], given["workers"] or None)


@contextlib.contextmanager
def _suite_executor(given: dict[str, Any], is_known: bool) -> Iterator[Executor | None]:
    """Have workers of this machine too, for known crystals: no others' parts can be pickled."""
    from hitfinder.executors.choose import executor_for

    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(_executor(given))
        if executor is None and is_known and given["workers"]:
            executor = stack.enter_context(executor_for(given["workers"]))
        yield executor


@contextlib.contextmanager
def _folder(out: Path, files: Iterable[str], overwrite: bool) -> Iterator[None]:
    """Have a folder that can be written to, and keep it for this command, before all the work.

    A folder that is made and stays empty is taken away again.
    """
    from hitfinder.atomic import make_folder
    from hitfinder.errors import OutputError
    from hitfinder.locks import locked

    if any((out / name).exists() for name in files) and not overwrite:
        raise OutputError("there is an evaluation already", str(out), "Use --overwrite.")
    made = not out.exists()
    make_folder(out)
    try:
        with locked(out, "evaluation"):
            yield
    finally:
        if made and not any(out.iterdir()):
            out.rmdir()


def _evaluate_suite(given: dict[str, Any]) -> None:
    from hitfinder.errors import ConfigError
    from hitfinder.progress import counting
    from hitfinder.suite import catalog, run

    out, suite = Path(given["out"]), given["suite"]
    is_known = suite == catalog.KNOWN_CRYSTAL
    try:
        catalog.check(suite)
        others = _ONLY_LOW_FLUX if is_known else _ONLY_KNOWN
        _refuse(given, others, f"does not go with --suite {suite}")
        if not is_known and given["cluster"] is None and (given["workers"] or 1) > 1:
            raise click.UsageError(f"--suite {suite} has several --workers with --cluster only.")
        what = _known_crystal(given) if is_known else _low_flux(given)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    with _folder(out, run.OUTPUTS, given["overwrite"]):
        with (
            _suite_executor(given, is_known) as executor,
            counting("frames", what.n_frames) as progress,
        ):
            results = run.run(what, progress, executor)
        results["skipped"] = catalog.skipped(suite, given["pattern_sim"], given["real"])
        for line in results["skipped"]:
            click.echo(f"left out: {line}")
        click.echo(f"evaluation: {run.write(results, out)}")


def _low_flux(given: dict[str, Any]) -> Suite:
    from hitfinder.suite import catalog, finders
    from hitfinder.suite.run import Suite
    from hitfinder.suite.thinned import FullFrame

    chosen = finders.named(given["finder"])
    real = [FullFrame(path) for path in given["real"]]
    return Suite(
        catalog.LOW_FLUX,
        catalog.recipes(given["pattern_sim"], real, given["quick"], given["only"]),
        catalog.series(given["quick"], given["only"]),
        finders=chosen,
        # A worker of a cluster need not be in this folder.
        frames=Path(given["frames"]).absolute() if given["frames"] else None,
        peers_folder=Path(given["peers"]).absolute() if given["peers"] else None,
    )


def _known_crystal(given: dict[str, Any]) -> Suite:
    from hitfinder.suite import catalog
    from hitfinder.suite.known_crystals import crystal_of
    from hitfinder.suite.run import Suite

    crystal = crystal_of(given["structure"], given["cell"], given["space_group"])
    parts = catalog.known_parts(crystal, given["pattern_sim"], given["quick"], given["only"])
    return Suite(catalog.KNOWN_CRYSTAL, known=parts)


def _evaluate_trained(model: str, given: dict[str, Any]) -> None:
    from hitfinder.cli.optional import require_train_extra

    require_train_extra()
    from hitfinder.progress import counting
    from hitfinder.study.assess import assess
    from hitfinder.study.networks.trained import load
    from hitfinder.study.pipeline import Predictor

    out = Path(given["out"] or f"{model}/evaluation")
    selection = selection_from(
        given["settings"], given["photon_energy_ev"], given["camera_length_m"]
    )
    # A worker of a cluster need not be in this folder.
    made = load(Path(model).absolute())
    tree = assess.open_part(made, Path(given["data"]).absolute(), given["part"], selection)
    predictor = Predictor(made, given["device"])
    workers = given["workers"]
    with _folder(out, [assess.PAGE], given["overwrite"]):
        with _executor(given) as executor, counting("frames", len(tree)) as progress:
            found = assess.assess(
                predictor,
                tree,
                tolerance_px=given["tolerance_px"],
                workers=_READERS if workers is None else workers,
                executor=executor,
                progress=progress,
            )
        path = assess.write(found, out, overwrite=given["overwrite"])
    numbers = found.metrics
    for name in ("accuracy", "recall", "precision"):
        if name in numbers:
            value = numbers[name]
            interval = f"{100 * value['low']:.1f} to {100 * value['high']:.1f}"
            click.echo(f"{name}: {assess.percent(value)} ({interval} %)")
    click.echo(f"evaluation: {path}")
