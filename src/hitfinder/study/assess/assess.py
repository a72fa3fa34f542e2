"""Evaluate a trained network on a tree: numbers, figures and one page."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np

import hitfinder
from hitfinder.atomic import make_folder, replacing
from hitfinder.errors import ConfigError, OutputError
from hitfinder.executors.contract import Executor
from hitfinder.report import page
from hitfinder.report.figures import data_url
from hitfinder.study.assess import figures, metrics
from hitfinder.study.assess.predictions import (
    Classified,
    Located,
    SpotTable,
    classify,
    images_of,
    locate,
)
from hitfinder.study.dataset.select import Selection, select
from hitfinder.study.dataset.split import SPLIT, read_split
from hitfinder.study.dataset.torch import readers_watched
from hitfinder.study.dataset.tree import Tree, open_tree
from hitfinder.study.networks.trained import HISTORY, TrainedNetwork
from hitfinder.study.pipeline import Predictor, peaks_of_heatmap
from hitfinder.study.training.data import folders_for, images_for

Part = Literal["test", "train", "all"]
WORST = 6
METRICS, PAGE = "metrics.json", "evaluation.html"


@dataclasses.dataclass(frozen=True, eq=False)
class Assessment:
    """How a network did.

    Attributes
    ----------
    trained : TrainedNetwork
        The network.
    metrics : dict
        Numbers, as they are written to ``metrics.json``.
    pictures : dict of bytes
        Figures as PNG, by name.
    worst : list of (str, bytes)
        The frames it got most wrong: what went wrong, and a picture.
    """

    trained: TrainedNetwork
    metrics: dict[str, Any]
    pictures: dict[str, bytes]
    worst: list[tuple[str, bytes]]


def open_part(trained: TrainedNetwork, data: str | Path, part: Part, selection: Selection) -> Tree:
    """Open the frames of a tree that a network is to be judged by.

    Raises
    ------
    ConfigError
        If the tree is not split, or nothing is left.
    """
    tree = select(open_tree(data, _folders(trained)), selection)
    if part == "all":
        return tree
    if not (tree.root / SPLIT).exists():
        hint = "Judge all frames (--part all), or run hitfinder dataset split."
        raise ConfigError("the tree is not split", str(data), hint)
    chosen = read_split(tree)[part]
    if not len(chosen):
        raise ConfigError(f"the {part} part of the selection is empty", str(data))
    return chosen


def _folders(trained: TrainedNetwork) -> list[str]:
    folders = folders_for(trained.config)
    return [*folders, "peaks"] if trained.config.attribute == "peak_location" else folders


def assess(
    predictor: Predictor,
    tree: Tree,
    *,
    tolerance_px: float = 3.0,
    workers: int = 0,
    executor: Executor | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Assessment:
    """Predict all frames of a tree and sum up.

    Parameters
    ----------
    predictor : Predictor
        The network.
    tree : Tree
        The frames.
    tolerance_px : float
        For peak locations: largest distance of a found peak from the true one.
    workers : int
        Processes that read.
    executor : Executor, optional
        Has the frames read and predicted, instead of this process.
    progress : callable
        Told of frames done.

    Raises
    ------
    HitfinderError
        If network and frames do not fit.
    """
    found: Classified | Located
    how: dict[str, Any] = {"workers": workers, "executor": executor, "progress": progress}
    with readers_watched("Memory may be short: use fewer --workers."):
        if predictor.config.attribute == "peak_location":
            found = locate(predictor, tree, tolerance_px, **how)
            numbers = metrics.of_locations(found, tree.settings)
        else:
            found = classify(predictor, tree, **how)
            numbers = metrics.of_classes(predictor.config, found, tree.settings)
    numbers = {
        "attribute": predictor.config.attribute,
        "network": predictor.config.network,
        "data": str(tree.root),
        **numbers,
    }
    worst = [_picture(predictor, tree, found, int(i)) for i in _worst(found)]
    return Assessment(predictor.trained, numbers, _pictures(predictor.trained, numbers), worst)


def _worst(found: Classified | Located) -> list[int]:
    """Return the frames that went wrong, the most wrong first."""
    order = np.argsort(-found.surprise, kind="stable")
    if isinstance(found, Classified):
        wrong = found.decided != found.truth
        return [int(i) for i in order if wrong[i]][:WORST]
    return [int(i) for i in order if found.surprise[i] > 0][:WORST]


def _picture(
    predictor: Predictor, tree: Tree, found: Classified | Located, index: int
) -> tuple[str, bytes]:
    image, name = images_of(tree, index), tree.frame_name(index)
    if isinstance(found, Classified):
        names = predictor.config.class_names
        truth, decided = names[found.truth[index]], names[found.decided[index]]
        p = found.probability[index, found.truth[index]]
        what = f"{name}: {truth}, taken for {decided} (probability of the truth {p:.3g})"
        return what, figures.frame(image, name)
    from hitfinder.study.dataset.torch import FrameDataset, loader

    samples = FrameDataset(tree.take(np.array([index])), images_for(predictor.config)[:-1])
    batch = next(iter(loader(samples, 1)))
    heatmap = predictor.to_probabilities(predictor.logits(batch))[0]
    peaks, _ = peaks_of_heatmap(heatmap, predictor.threshold)
    what = f"{name}: {found.missed[index]} peaks missed, {found.false[index]} found falsely"
    return what, figures.frame(image, name, SpotTable(tree).of(index), peaks)


def _pictures(trained: TrainedNetwork, numbers: dict[str, Any]) -> dict[str, bytes]:
    title = f"{trained.config.attribute.replace('_', ' ')}, {trained.config.network}"
    pictures = {}
    if "confusion" in numbers:
        pictures["confusion"] = figures.confusion(numbers["confusion"], numbers["classes"], title)
        pictures["reliability"] = figures.reliability(numbers["reliability"], title)
        if numbers["curves"]:
            pictures["rates"] = figures.rates(numbers["curves"], title)
        setting_values, what = numbers["per_setting"], "right"
    else:
        setting_values = {name: v["recall"] for name, v in numbers["per_setting"].items()}
        what = "recall"
    pictures["settings"] = figures.per_setting(setting_values, what, title)
    history = trained.path / HISTORY if trained.path else None
    if history is not None and history.is_file() and history.stat().st_size:
        pictures["curves"] = figures.curves(history.read_text(encoding="utf-8"), title)
    return pictures


def write(assessment: Assessment, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write ``metrics.json``, the figures as PNG, and ``evaluation.html``.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    OutputError
        If there is an evaluation already, or it cannot be written.
    """
    out = Path(out)
    if (out / PAGE).exists() and not overwrite:
        hint = "Choose another folder, or give --overwrite."
        raise OutputError("there is an evaluation already", str(out), hint)
    make_folder(out)
    named = {f"{name}.png": picture for name, picture in assessment.pictures.items()}
    for number, (_, picture) in enumerate(assessment.worst, 1):
        named[f"worst_{number}.png"] = picture
    for name, picture in named.items():
        with replacing(out / name) as part:
            part.write_bytes(picture)
    with replacing(out / METRICS) as part:
        part.write_text(json.dumps(assessment.metrics, indent=1) + "\n", encoding="utf-8")
    with replacing(out / PAGE) as part:
        part.write_text(html(assessment), encoding="utf-8")
    return out / PAGE


SECTIONS = {
    "confusion": ("Confusion", "Rows are the truth and add up to one."),
    "curves": ("Training", "Loss and accuracy after each epoch."),
    "rates": ("ROC and precision", "Bands are 95 % intervals (Wilson)."),
    "reliability": ("Reliability", "How often predictions of a given probability came true."),
    "settings": ("By setting", "Bars are 95 % intervals (Wilson)."),
}


def html(assessment: Assessment) -> str:
    """Return the page, with its figures in it."""
    numbers, config = assessment.metrics, assessment.trained.config
    title = f"{config.attribute.replace('_', ' ').capitalize()}: {config.network}"
    header = (
        f"<h1>{escape(title)}</h1><p class=lead>{numbers['frames']} frames of "
        f"{escape(numbers['data'])}</p>"
    )
    sections = [
        page.section(name, heading, image(assessment.pictures[name], f"{heading}: {note}"), note)
        for name, (heading, note) in SECTIONS.items()
        if name in assessment.pictures
    ]
    figures_of_worst = "".join(
        f"<figure>{image(picture, what)}<figcaption>{escape(what)}</figcaption></figure>"
        for what, picture in assessment.worst
    )
    gallery = f'<div class="gallery">{figures_of_worst}</div>' if assessment.worst else "None."
    note = "True peaks circled, found ones crossed." if "recall" in numbers else ""
    parts = [
        f'<div class="cards">{"".join(_cards(numbers))}</div>',
        page.side_by_side(*sections),
        page.section("worst", "The frames it got most wrong", gallery, note),
        page.section("provenance", "Provenance", _provenance(assessment.trained)),
    ]
    today = datetime.date.today().isoformat()
    footer = f"hitfinder {hitfinder.__version__}, {today}"
    return page.page(title, header, "".join(parts), footer)


def image(picture: bytes, told: str) -> str:
    """Return a picture as markup, and what it shows for those who cannot see it."""
    alt = escape(told, quote=True)
    return f'<img src="{data_url(picture)}" style="max-width:100%" alt="{alt}">'


def _cards(numbers: dict[str, Any]) -> list[str]:
    if "confusion" in numbers:
        named = {"accuracy": numbers["accuracy"], **numbers["per_class"]}
    else:
        named = {name: numbers[name] for name in ("recall", "precision")}
    cards = [page.card(percent(value), name) for name, value in list(named.items())[:8]]
    if "reliability" in numbers:
        cards.append(page.card(f"{numbers['reliability']['error']:.3f}", "calibration error"))
    if "rms_error" in numbers:
        error = numbers["rms_error"]
        cards.append(page.card(f"{error['value']:.3g} {error['unit']}", "rms error"))
    if numbers.get("false_per_blank_frame") is not None:
        per_blank = f"{numbers['false_per_blank_frame']:.3g}"
        cards.append(page.card(per_blank, "false peaks per blank frame"))
    return cards


def percent(value: dict[str, float | None]) -> str:
    """Return a fraction as a person reads it."""
    middle = value["value"]
    return "–" if middle is None else f"{100 * middle:.1f} %"


def _provenance(trained: TrainedNetwork) -> str:
    rows = [(key, json.dumps(value)) for key, value in trained.provenance.items()]
    rows = [(key.replace("_", " "), value) for key, value in rows]
    return page.table(("", ""), [("folder", str(trained.path)), *rows], {0})
