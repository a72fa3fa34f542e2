"""Write the tables of columns while the pages are built, from the schemas in the code.

A line `<!-- columns: package.module:NAME -->` becomes a table of the mapping NAME, which gives
type, unit and meaning of each column.
"""

import importlib
import re
from collections.abc import Iterator, Mapping

MARK = re.compile(r"^<!-- columns: ([\w.]+):(\w+) -->$", re.MULTILINE)
KINDS = {"bool_": "bool", "string": "text", "record": "records"}
UNITS = {
    "": "",
    "1": "",
    "1/m": "m⁻¹",
    "1/metre": "m⁻¹",
    "J": "J",
    "angstrom": "Å",
    "degC": "°C",
    "degree": "°",
    "eV": "eV",
    "m": "m",
    "metre": "m",
    "mg/ml": "mg/ml",
    "micrometre": "µm",
    "milliradian": "mrad",
    "mm": "mm",
    "photon": "photon",
    "photon/pixel": "photon/pixel",
    "pixel": "pixel",
    "radian": "rad",
    "s": "s",
}
"""How units are written on the page, by their names in the files."""

Columns = Mapping[str, tuple[str, str, str]]


def named(markdown: str) -> Iterator[tuple[str, Columns]]:
    """Yield the place and the columns of each schema that a page shows."""
    for module, name in MARK.findall(markdown):
        yield f"{module}:{name}", getattr(importlib.import_module(module), name)


def table(columns: Columns) -> str:
    """Return the columns as a table in Markdown."""
    rows = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for name, (kind, unit, meaning) in columns.items():
        told = meaning.replace("|", r"\|")
        rows.append(f"| `{name}` | {KINDS.get(kind, kind)} | {UNITS[unit]} | {told} |")
    return "\n".join(rows)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Put the tables in place of the lines that name them."""
    tables = {place: table(columns) for place, columns in named(markdown)}
    return MARK.sub(lambda found: tables[f"{found[1]}:{found[2]}"], markdown)
