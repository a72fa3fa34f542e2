"""Make the sample of a report while the pages are built: the demo's, with lighter pictures."""

import base64
import io
import re
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from PIL import Image

from hitfinder.suite import demo

REPORT, N_FRAMES = "samples/report.html", 60
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
