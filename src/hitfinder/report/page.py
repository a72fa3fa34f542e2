"""A self-contained HTML page: style sheet, head, and small pieces of markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

STYLE = """
:root { color-scheme: light dark; --page:#f6f7f9; --card:#ffffff; --ink:#1b2330; --soft:#5b6675;
  --line:#dfe3e9; --accent:#1f6fb2; --good:#23804a; --warn:#b3541e; --band:#1f6fb22e; }
@media (prefers-color-scheme: dark) { :root { --page:#12161c; --card:#1b2129; --ink:#e4e9f0;
  --soft:#9aa6b5; --line:#303945; --accent:#62aee8; --good:#5cc08a; --warn:#e89a5d;
  --band:#62aee82e; } }
* { box-sizing: border-box }
body { margin:0; background:var(--page); color:var(--ink); font:15px/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums }
main, header { max-width:1180px; margin:0 auto; padding:0 22px }
header { padding-top:30px }
h1 { font-size:26px; line-height:1.25; margin:0 0 4px; overflow-wrap:anywhere }
h2 { font-size:17px; margin:0 0 2px }
p.lead { color:var(--soft); margin:0 0 3px; overflow-wrap:anywhere }
p.note { color:var(--soft); font-size:13px; margin:0 0 10px }
p.alert { border-left:4px solid var(--warn); background:var(--card); padding:10px 14px;
  margin:16px 0 0; border-radius:4px }
nav { margin:14px 0 0; font-size:13.5px } nav a { color:var(--accent); margin-right:16px;
  text-decoration:none } nav a:hover { text-decoration:underline }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(140px,1fr)); gap:12px;
  margin:20px 0 }
.card { background:var(--card); border:1px solid var(--line); border-radius:8px; padding:11px 14px }
.card b { display:block; font-size:25px; line-height:1.25; font-weight:600 }
.card span { color:var(--soft); font-size:13px; display:block } .card.good b { color:var(--good) }
.card.warn b { color:var(--warn) }
.grid2 { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));
  gap:14px; margin-bottom:14px }
section { background:var(--card); border:1px solid var(--line); border-radius:8px;
  padding:14px 17px; min-width:0; margin-bottom:14px } .grid2 section { margin:0 }
svg.chart { width:100%; height:auto; display:block }
svg.chart text { fill:var(--soft); font-size:12px } svg.chart text.label { font-size:12.5px }
svg.chart text.note { fill:var(--warn) }
.grid { stroke:var(--line); stroke-width:1 } .axis { stroke:var(--soft); stroke-width:1 }
.bar { fill:var(--accent) } .bar.hit { fill:var(--good) } .bar.blank { fill:var(--soft);
  opacity:.55 }
.line { fill:none; stroke:var(--accent); stroke-width:2; stroke-linejoin:round }
.band { fill:var(--band) } .rule { stroke:var(--warn); stroke-width:1.5; stroke-dasharray:5 4 }
.picture { position:relative; background:#77777722; border-radius:4px; overflow:hidden }
.picture img, .picture svg { display:block; width:100%; height:auto; image-rendering:pixelated }
.picture svg { position:absolute; inset:0; height:100% }
.picture .ring { fill:none; stroke:#ffffff; stroke-opacity:.6; stroke-width:1;
  vector-effect:non-scaling-stroke; stroke-dasharray:4 4 }
.picture .peak { fill:none; stroke:#4be3ff; stroke-width:1.3; vector-effect:non-scaling-stroke }
.picture .doubtful { stroke-dasharray:2 3 }
.picture text { fill:#fff; fill-opacity:.9; paint-order:stroke; stroke:#000; stroke-opacity:.6;
  stroke-width:3px }
.scale { display:flex; align-items:center; gap:8px; color:var(--soft); font-size:12.5px;
  margin-top:7px } .scale i { flex:1; height:9px; border-radius:3px }
.gallery { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,262px),1fr));
  gap:12px; margin-top:8px } figure { margin:0; min-width:0 }
figcaption { font-size:12.5px; color:var(--soft); overflow-wrap:anywhere; line-height:1.4;
  margin-top:4px } figcaption b { color:var(--ink) }
.scroll { overflow-x:auto } table { border-collapse:collapse; width:100%; font-size:13.5px }
th { text-align:left; color:var(--soft); font-weight:500 }
th, td { padding:4px 12px 4px 0; border-bottom:1px solid var(--line); vertical-align:top;
  overflow-wrap:anywhere } td.n, th.n { text-align:right; white-space:nowrap }
tr:last-child > * { border-bottom:0 }
footer { color:var(--soft); font-size:13px; padding:4px 0 34px }
@media print { body { background:#fff } section, .card { break-inside:avoid } nav { display:none } }
"""


def page(title: str, header: str, body: str, footer: str) -> str:
    """Return a whole page; everything but the title is markup."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>{header}</header>\n<main>{body}<footer>{footer}</footer></main>\n"
        "</body>\n</html>\n"
    )


def section(name: str, heading: str, content: str, note: str = "") -> str:
    """Return a section with a heading and a line of explanation."""
    explained = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<section id="{name}"><h2>{escape(heading)}</h2>{explained}{content}</section>'


def card(value: str, label: str, kind: str = "") -> str:
    """Return a number in large type; `kind` is ``good``, ``warn`` or nothing."""
    return f'<div class="card {kind}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def side_by_side(*sections: str) -> str:
    """Put sections in two columns where there is room."""
    return f'<div class="grid2">{"".join(sections)}</div>'


def table(
    head: Iterable[str], rows: Iterable[Iterable[object]], numeric: set[int] | None = None
) -> str:
    """Return a table; columns in `numeric` are set flush right."""

    def cells(values: Iterable[object], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if k in (numeric or ()) else ''}>{escape(str(value))}</{tag}>"
            for k, value in enumerate(values)
        )

    top = cells(head, "th")
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'
