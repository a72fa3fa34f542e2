"""Samples of what hitfinder writes, with lighter pictures.

The report of the demo is made while the pages are built. The page of a study takes too long for
that: `python docs/hooks/samples.py STUDY` keeps the one of the folder STUDY, which
`hitfinder reproduce` has filled.
"""

import base64
import io
import re
import sys
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from PIL import Image

from hitfinder.atomic import replacing
from hitfinder.suite import demo

REPORT, N_FRAMES = "samples/report.html", 60
STUDY = Path(__file__).resolve().parents[1] / "samples" / "study.html"
PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
COLOURS = 32


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the report to what is published."""
    files.append(File.generated(config, REPORT, content=lighter(report(N_FRAMES))))
    return files


def report(n_frames: int) -> str:
    """Return the report of a run over simulated frames, indexed."""
    with tempfile.TemporaryDirectory() as folder:
        shown = demo.show(Path(folder), n_frames, workers=1)
        return shown.run.report.read_text(encoding="utf-8").replace(f"{folder}/", "")


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


def keep_study(folder: Path) -> None:
    """Keep the page of a study among the pages."""
    STUDY.parent.mkdir(exist_ok=True)
    page = (folder / "study.html").read_text(encoding="utf-8")
    with replacing(STUDY) as part:
        part.write_text(lighter(page), encoding="utf-8")


if __name__ == "__main__":
    keep_study(Path(sys.argv[1]))
