"""The page that sets the report's results beside ours."""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path
from typing import Any

from hitfinder.atomic import replacing
from hitfinder.report import page
from hitfinder.study.assess.assess import image, percent
from hitfinder.study.assess.by_run import FAINT
from hitfinder.study.assess.plan import FLUXES, PROTOCOLS, StudyScale
from hitfinder.study.networks import attribute

PAGE = "study.html"
PICTURES = {
    "confusion": "Confusion matrix",
    "settings": "Results of each setting",
    "curves": "Loss and accuracy against epoch",
}
FLUX_NAMES = {"normal": "normal flux", "low": "extremely low flux", "range": "ranges"}


@dataclasses.dataclass(frozen=True)
class ReportResult:
    """A result that the report states.

    Parameters
    ----------
    what : str
        What was measured.
    report : str
        What the report says.
    attribute, network, flux : str
        The networks of ours that stand beside it.
    """

    what: str
    report: str
    attribute: str
    network: str
    flux: str


REPORT = (
    ReportResult("Photon energy, 3 classes", "all right", "photon_energy", "linear", "normal"),
    ReportResult("Camera length, 3 classes", "all right", "camera_length", "linear", "normal"),
    ReportResult(
        "Hits, base network",
        "74 % of peak frames found",
        "peak",
        "base",
        "normal",
    ),
    ReportResult(
        "Hits, binary network",
        "95 to 97 % of peak frames found, no false alarm",
        "peak",
        "binary",
        "normal",
    ),
    ReportResult(
        "Hits, dual-input network, shown the clean signal",
        "25 % of peak frames found, no false alarm",
        "peak",
        "dual-input",
        "low",
    ),
    ReportResult(
        "Peak location, heatmap", "no peak ever found", "peak_location", "heatmap", "normal"
    ),
)


def write(out: str | Path, results: dict[str, Any], scale: StudyScale) -> Path:
    """Write the page into the folder of a study.

    Returns
    -------
    Path
        The page.
    """
    out = Path(out)
    with replacing(out / PAGE) as part:
        part.write_text(html(out, results, scale), encoding="utf-8")
    return out / PAGE


def html(out: Path, results: dict[str, Any], scale: StudyScale) -> str:
    """Return the page, with its figures in it."""
    by_name = {network["name"]: network for network in results["networks"]}
    header = (
        "<h1>The CXLS report, repeated</h1>"
        "<p class=lead>Everett and Kurth (2024), Crystallography Peak Detection at CXLS: its "
        "networks trained again on frames of our own simulation, in its own protocol and in one "
        "with fresh noise.</p>"
        f"<p class=lead>Scale {escape(scale.name)}: frames joined {scale.bin} × {scale.bin}, "
        f"{scale.frames} frames with peaks and as many empty ones in each of nine settings "
        f"({scale.low_flux_frames} at extremely low flux); "
        f"80 % to train, 20 % to test. {results['seconds'] / 60:.1f} minutes this time.</p>"
    )
    body = [
        page.section(
            "report",
            "Each of the report's results, and ours",
            _comparison(by_name, results["own"]),
            NOTE,
        ),
        page.section("flatters", "Where the report's protocol flatters", _flattery(results)),
        page.section("all", "All networks", _all(results["networks"]), left_out(scale)),
        page.section(
            "wish", "Nearest keV and nearest cm", _wish(by_name, results["own"]["range"]), WISH
        ),
        _pipeline(out, results),
        *_figures(out, by_name),
    ]
    footer = f"{escape(results['made_by'])}"
    return page.page("The CXLS report, repeated", header, "".join(body), footer)


NOTE = (
    "Fractions are of the test frames, with 95 % intervals. In the report's protocol one water "
    "image serves all frames of a setting and all its empty frames; in the realistic one each "
    "frame has its own noise, water thickness, flux, beam centre, energy and hit fraction. "
    "The last column is hitfinder run with its own network and estimate, which the study does "
    "not train: some of the realistic test shots, made again in the detector's own pixels, by the "
    "frame alone. "
    "Figures 13 to 24 of the report are confusion matrices, curves of loss and accuracy, and "
    "pipeline examples; ours are below, network by network."
)
WISH = (
    "The report wished for more values: 5 to 12 keV to the nearest keV, and 0.10 to 0.50 m to the "
    "nearest cm, of frames spread evenly over both ranges."
)


def _comparison(by_name: dict[str, Any], own: dict[str, Any]) -> str:
    rows = []
    for result in REPORT:
        ours = []
        for protocol in PROTOCOLS:
            key = f"{protocol}-{result.flux}/{result.attribute}-{result.network}"
            ours.append(summary(by_name[key]))
        flux = FLUX_NAMES[result.flux]
        run = own_summary(own[f"realistic-{result.flux}"], result.attribute)
        rows.append((f"{result.what}, {flux}", result.report, *ours, run))
    head = ("result", "report", "ours, its protocol", "ours, realistic", "hitfinder run, full size")
    return page.table(head, rows)


def own_summary(own: dict[str, Any], attribute: str) -> str:
    """Return the one line that says what `hitfinder run` answered on shots of a tree."""
    if attribute == "peak_location":
        return f"recall {interval(own['recall'])}, precision {interval(own['precision'])}"
    if attribute == "peak":
        text = f"{interval(own['found'])} found, {percent(own['false_hits'])} false alarms"
        if own["found_fainter"]["value"] is None:
            return text
        brighter, fainter = (interval(own[f"found_{name}"]) for name in ("brighter", "fainter"))
        return f"{text}; {brighter} from a Bragg scale of {FAINT:g}, {fainter} below"
    return f"{interval(own[attribute]['right'])} right"


def left_out(scale: StudyScale) -> str:
    """Say which networks of the report are not trained at a scale."""
    if not scale.left_out:
        return ""
    names = " and ".join(scale.left_out)
    return f"Not trained at this scale, as they would take hours on two cores: {names}."


def summary(network: dict[str, Any]) -> str:
    """Return the one line that says how a network did."""
    if network["attribute"] == "peak_location":
        recall, precision = network["recall"], network["precision"]
        return f"recall {interval(recall)}, precision {interval(precision)}"
    if network["attribute"] == "peak":
        matrix = network["confusion"]
        found = interval(network["per_class"]["peak"])
        return f"{found} found, {100 * matrix[0][1]:.1f} % false alarms"
    return f"{interval(network['accuracy'])} right"


def interval(value: dict[str, Any]) -> str:
    """Return a fraction and its interval."""
    if value["value"] is None:
        return "–"
    return f"{percent(value)} ({100 * value['low']:.1f} to {100 * value['high']:.1f})"


def _flattery(results: dict[str, Any]) -> str:
    paper, fresh = results["empties"]["paper"], results["empties"]["realistic"]
    text = (
        f"<p>In the report's protocol {paper['also_in_training']} of {paper['test']} empty test "
        f"frames are, pixel by pixel, frames that the network was trained on: there are only "
        f"{paper['distinct']} different empty frames among {paper['all']}. With fresh noise it is "
        f"{fresh['also_in_training']} of {fresh['test']}. A network can learn those nine images by "
        "heart, and then never raises a false alarm; the test does not notice. Frames with peaks "
        "share them too, as their background, so any difference from nine known images is a peak. "
        "The table shows what becomes of the same trained networks when the test frames have "
        "noise of their own.</p>"
    )
    rows = []
    for network in results["networks"]:
        if "fresh_noise" not in network:
            continue
        own, other = network, network["fresh_noise"]
        rows.append(
            (
                f"{network['network']}, {FLUX_NAMES[network['flux']]}",
                _found(own["confusion"]),
                _found(other["confusion"]),
                f"{100 * own['found_without_false_alarm']:.1f} %",
                f"{100 * other['found_without_false_alarm']:.1f} %",
            )
        )
    head = (
        "trained in the report's protocol",
        "tested in it",
        "tested on fresh noise",
        "found with no false alarm, in it",
        "and on fresh noise",
    )
    caution = (
        "<p class=note>The dual-input network is shown the Bragg photons alone as its second "
        "input. No real frame comes with them, so its numbers say nothing about real data.</p>"
    )
    return text + page.table(head, rows) + caution + _photons(results["photons"])


def _photons(photons: dict[str, Any]) -> str:
    """Say how many Bragg photons there are to be found at extremely low flux."""
    told = [
        f"{n['without']} of {n['frames']} test frames with peaks hold not one Bragg photon "
        f"(median {n['median']:.0f}) in the {protocol} protocol"
        for protocol, n in ((protocol, photons[f"{protocol}-low"]) for protocol in PROTOCOLS)
    ]
    return f"<p>At extremely low flux {', '.join(told)}: nothing can find those.</p>"


def _found(confusion: list[list[float]]) -> str:
    """Return in words what a confusion matrix of frames without peaks and with them says."""
    false, found = confusion[0][1], confusion[1][1]
    return f"{100 * found:.1f} % found, {100 * false:.1f} % false alarms"


def _all(networks: list[dict[str, Any]]) -> str:
    rows = [
        (
            network["attribute"].replace("_", " "),
            network["network"],
            network["protocol"],
            FLUX_NAMES[network["flux"]],
            summary(network),
            network["train_frames"],
            network["epochs"],
            f"{network['train_seconds']:.0f} s",
        )
        for network in networks
    ]
    head = ("attribute", "network", "protocol", "flux", "result", "frames", "epochs", "training")
    return page.table(head, rows, {5, 6, 7})


def _wish(by_name: dict[str, Any], own: dict[str, Any]) -> str:
    rows = []
    for name, scale, unit in (("photon_energy", 1e-3, "keV"), ("camera_length", 100, "cm")):
        network = by_name[f"range/{name}-linear"]
        errors = (network["rms_error"]["value"], own[name]["rms_error"])
        told = ["–" if error is None else f"{scale * error:.3g} {unit}" for error in errors]
        right = [interval(value) for value in (network["accuracy"], own[name]["right"])]
        n_classes = len(network["classes"])
        rows.append((name.replace("_", " "), n_classes, right[0], told[0], right[1], told[1]))
    head = (
        "attribute",
        "classes",
        "linear network: right",
        "rms error",
        "hitfinder run, full size: right",
        "rms error",
    )
    return page.table(head, rows, {1})


def _pipeline(out: Path, results: dict[str, Any]) -> str:
    figures = []
    for protocol in PROTOCOLS:
        for example in results["pipeline"][protocol]:
            picture = image((out / example["picture"]).read_bytes(), f"Frame {example['frame']}")
            text = (
                f"{escape(example['frame'])} ({protocol}): <b>{escape(example['answer'])}</b>; "
                f"truth: {escape(example['truth'])}"
            )
            figures.append(f"<figure>{picture}<figcaption>{text}</figcaption></figure>")
    if not figures:
        return ""
    note = "The binary network first; None without peaks, else energy, camera length and positions."
    return page.section(
        "pipeline", "Pipeline", f'<div class="gallery">{"".join(figures)}</div>', note
    )


def _figures(out: Path, by_name: dict[str, Any]) -> list[str]:
    """Return a section for each network: its confusion and curves in both protocols."""
    sections = []
    for flux in FLUXES:
        done = {n.split("/", 1)[1]: n for n in by_name if n.startswith(f"paper-{flux}/")}
        for key in done:
            cells = []
            for protocol in PROTOCOLS:
                folder = out / "networks" / f"{protocol}-{flux}" / key / "evaluation"
                pictures = {folder / f"{p}.png": told for p, told in PICTURES.items()}
                shown = "".join(
                    image(path.read_bytes(), f"{told}: {key}, {protocol}")
                    for path, told in pictures.items()
                    if path.exists()
                )
                text = escape(summary(by_name[f"{protocol}-{flux}/{key}"]))
                cells.append(f"<div><h2>{protocol}</h2><p class=note>{text}</p>{shown}</div>")
            name, network = key.split("-", 1)
            heading = f"{name.replace('_', ' ').capitalize()}, {network}, {FLUX_NAMES[flux]}"
            content = f'<div class="grid2">{"".join(cells)}</div>'
            sections.append(
                page.section(f"{flux}-{key}", heading, content, _settings(by_name, flux, key))
            )
    return sections


def _settings(by_name: dict[str, Any], flux: str, key: str) -> str:
    """Say where the training differs from the report's own."""
    network = by_name[f"paper-{flux}/{key}"]
    own = attribute.packaged(network["attribute"])
    return (
        f"{network['epochs']} epochs (the report's configuration: {own.epochs}) of "
        f"{network['train_frames']} frames."
    )
