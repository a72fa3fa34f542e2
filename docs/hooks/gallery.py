"""Draw the pictures of the gallery while the pages are built, and show each with its script."""

import ast
import importlib.util
import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SCRIPTS = Path(__file__).resolve().parents[2] / "examples" / "gallery"
MARK, FOLDER = "<!-- gallery -->", "gallery"
FIRST = "found_peaks"


def scripts() -> list[Path]:
    """Return the scripts in the order of the page."""
    return sorted(SCRIPTS.glob("*.py"), key=lambda path: (path.stem != FIRST, path.stem))


def picture(script: Path, small: bool = False) -> bytes:
    """Return what a script draws, as PNG."""
    spec = importlib.util.spec_from_file_location(f"gallery_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    figure, out = module.draw(small), io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    plt.close(figure)
    return out.getvalue()


def section(script: Path) -> str:
    """Return title, text, picture and script as Markdown."""
    code = script.read_text(encoding="utf-8")
    title, _, text = (ast.get_docstring(ast.parse(code)) or "").partition("\n\n")
    shown = "\n".join(f"    {line}".rstrip() for line in code.splitlines())
    return f"""## {title.rstrip(".")}

{text}

![{title}]({FOLDER}/{script.stem}.png)

??? note "the script, examples/gallery/{script.name}"

    ```python
{shown}
    ```
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures to what is published."""
    for script in scripts():
        name = f"{FOLDER}/{script.stem}.png"
        files.append(File.generated(config, name, content=picture(script)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the sections in place of the mark."""
    if MARK not in markdown:
        return markdown
    return markdown.replace(MARK, "\n\n".join(map(section, scripts())))
