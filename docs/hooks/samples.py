"""Make samples of what hitfinder writes while the pages are built, with lighter pictures.

The report is the demo's. The page of a study shows the results that `benchmarks/results` keep of
one, since a study takes longer than the pages may.
"""

import base64
import io
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from PIL import Image

from hitfinder.study.assess import figures, study_page
from hitfinder.study.assess.plan import PROTOCOLS, SCALES
from hitfinder.suite import demo

REPORT, N_FRAMES = "samples/report.html", 60
STUDY, RESULTS = "samples/study.html", Path(__file__).resolve().parents[2] / "benchmarks/results"
PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
COLOURS = 32


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the samples to what is published."""
    files.append(File.generated(config, REPORT, content=lighter(report(N_FRAMES))))
    files.append(File.generated(config, STUDY, content=lighter(study())))
    return files


def report(n_frames: int) -> str:
    """Return the report of a run over simulated frames, indexed."""
    with tempfile.TemporaryDirectory() as folder:
        shown = demo.show(Path(folder), n_frames, workers=1)
        return shown.run.report.read_text(encoding="utf-8").replace(f"{folder}/", "")


def study() -> str:
    """Return the page of the small study, of which the results are kept."""
    kept, own = (json.loads((RESULTS / f"study_{n}.json").read_text()) for n in ("small", "own"))
    networks = [of_page(network) for network in kept["networks"]]
    scale = SCALES["small"]
    results = {
        "made_by": f"hitfinder reproduce, {kept['date']}, {kept['machine']}",
        "networks": [one for one in networks if one["network"] not in scale.left_out],
        "empties": kept["empties"],
        "photons": kept["photons"],
        "own": own["own"],
        "pipeline": {protocol: [] for protocol in PROTOCOLS},
        "seconds": kept["wall_seconds"],
    }
    with tempfile.TemporaryDirectory() as folder:
        for network in results["networks"]:
            draw(network, Path(folder) / "networks" / network["name"] / "evaluation")
        return study_page.html(Path(folder), results, scale)


def of_page(network: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a network with what its name says, as the page takes them."""
    tree, _, job = network["name"].partition("/")
    protocol, _, flux = tree.rpartition("-")
    attribute, _, name = job.partition("-")
    said = {
        "attribute": attribute,
        "network": name,
        "protocol": protocol or "realistic",
        "flux": flux,
        "classes": list(network.get("per_class", ())),
    }
    if counts := network.get("confusion_counts"):
        said["confusion"] = [[n / sum(row) for n in row] for row in counts]
    return network | said


def draw(network: dict[str, Any], folder: Path) -> None:
    """Draw the confusion matrix of a network that has one."""
    if "confusion" in network:
        folder.mkdir(parents=True)
        title = f"{network['attribute'].replace('_', ' ')}, {network['network']}"
        picture = figures.confusion(network["confusion"], network["classes"], title)
        (folder / "confusion.png").write_bytes(picture)


def lighter(page: str) -> str:
    """Return a page whose pictures have fewer colours."""

    def replaced(found: re.Match) -> str:
        picture = fewer_colours(base64.b64decode(found[1]))
        return f"data:image/png;base64,{base64.b64encode(picture).decode()}"

    return PICTURE.sub(replaced, page)


def fewer_colours(picture: bytes) -> bytes:
    """Return a PNG with no more than `COLOURS`, if that makes it smaller."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        few = image.convert("RGBA").quantize(COLOURS, Image.Quantize.FASTOCTREE)
        few.save(out, "PNG", optimize=True)
    return min(out.getvalue(), picture, key=len)
