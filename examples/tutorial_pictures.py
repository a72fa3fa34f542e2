"""Run the tutorials and keep their pictures: python examples/tutorial_pictures.py [tutorial ...].

A picture `images/plan-frame0.png` of the tutorial `plan` is the file `frame0.png` that its commands
write, made smaller; if they write a page `frame0.html` instead, it is the top of that page, for
which Playwright and Chromium are needed.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

TUTORIALS = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
BASH = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
MODULE = re.compile(r'^```python title="([\w.]+)"\n(.*?)^```', re.DOTALL | re.MULTILINE)
PICTURE = re.compile(r"!\[[^\]]+\]\(images/([\w.-]+)\)")
NOT_OURS = ("indexamajig",)
"""Programs of others, which need not be there."""

WIDTHS_PX, COLOURS, MOST_BYTES = (900, 700, 500, 400), 128, 150_000


def commands(page: Path) -> Iterator[str]:
    """Yield the command lines of a tutorial."""
    for block in BASH.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith(NOT_OURS):
                yield line


def write_modules(page: Path, folder: Path) -> None:
    """Write the Python modules of a tutorial, which its commands use."""
    for name, text in MODULE.findall(page.read_text(encoding="utf-8")):
        (folder / name).write_text(text, encoding="utf-8")


def sources(page: Path, folder: Path) -> dict[str, Path]:
    """Return for each picture of a tutorial the file that its commands have written."""
    found = {}
    for picture in PICTURE.findall(page.read_text(encoding="utf-8")):
        stem = Path(picture).stem.removeprefix(f"{page.stem}-")
        written = [*folder.rglob(f"{stem}.png"), *folder.rglob(f"{stem}.html")]
        if not written:
            raise FileNotFoundError(f"{page.name} shows {picture}, but nothing writes {stem}.png")
        found[picture] = written[0]
    return found


def keep(source: Path, target: Path) -> None:
    """Keep a picture, or the top of a page, at a size that suits a page of text."""
    if source.suffix == ".html":
        photograph(source, target)
        source = target
    with Image.open(source) as image:
        whole = image.convert("RGB")
    for width in WIDTHS_PX:
        size = (width, round(whole.height * width / whole.width))
        shown = whole if width >= whole.width else whole.resize(size, Image.Resampling.LANCZOS)
        shown.quantize(COLOURS).save(target, optimize=True)
        if target.stat().st_size < MOST_BYTES:
            break


def photograph(page: Path, target: Path) -> None:
    """Take a picture of the top of a page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        view = browser.new_page(viewport={"width": WIDTHS_PX[0], "height": 760})
        view.goto(page.resolve().as_uri())
        view.screenshot(path=str(target))
        browser.close()


def main() -> None:
    """Run the tutorials that are asked for, or all."""
    names = sys.argv[1:] or sorted(page.stem for page in TUTORIALS.glob("*.md"))
    (TUTORIALS / "images").mkdir(exist_ok=True)
    for name in names:
        page = TUTORIALS / f"{name}.md"
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_modules(page, folder)
            for line in commands(page):
                print(f"$ {line}", flush=True)
                subprocess.run(["bash", "-c", line], cwd=folder, check=True)
            for picture, source in sources(page, folder).items():
                keep(source, TUTORIALS / "images" / picture)
                print(f"kept {picture}")


if __name__ == "__main__":
    main()
