"""A self-contained HTML page: style sheet, head, and small pieces of markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from hitfinder.errors import harmless
from hitfinder.report.colours import DARK, LIGHT

_STYLE = """
:root { color-scheme: light dark; @light }
@media screen and (prefers-color-scheme: dark) { :root { @dark } }
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
.verdict { border-left:5px solid var(--warn) } .verdict h2 { font-size:21px }
.verdict.keep { border-left-color:var(--good) }
.verdict.discard { border-left-color:var(--soft) }
.verdict ul { margin:0; padding-left:19px; overflow-wrap:anywhere } .verdict li { margin:2px 0 }
#indexing .cards { margin:8px 0 0 }
nav { display:flex; flex-wrap:wrap; gap:2px 16px; margin:14px 0 0; font-size:13.5px }
nav a { color:var(--accent); text-decoration:none } nav a:hover { text-decoration:underline }
.cards { display:flex; flex-wrap:wrap; gap:12px; margin:20px 0 }
.card { flex:1 1 190px; max-width:280px; background:var(--card); border:1px solid var(--line);
  border-radius:8px; padding:11px 14px }
.card b { display:block; font-size:25px; line-height:1.25; font-weight:600; white-space:nowrap }
.card span { color:var(--soft); font-size:13px; display:block; text-wrap:balance }
.card.good b { color:var(--good) } .card.warn b { color:var(--warn) }
.grid2 { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));
  gap:14px; margin-bottom:14px }
section { background:var(--card); border:1px solid var(--line); border-radius:8px;
  padding:14px 17px; min-width:0; margin-bottom:14px }
main > section:first-child { margin-top:20px } .grid2 section { margin:0 }
.chart { container-type:inline-size }
.chart svg { display:none; width:100%; height:auto; margin:0 auto }
.chart .w320 { display:block; max-width:430px }
@container (min-width:440px) { .chart .w320 { display:none }
  .chart .w480 { display:block; max-width:680px } }
@container (min-width:860px) { .chart .w1080 { display:block }
  .chart .w480:not(:last-child) { display:none } }
.picture { position:relative; background:#77777722; border-radius:4px; overflow:hidden }
.picture img, .picture svg { display:block; width:100%; height:auto; image-rendering:pixelated }
.picture svg { position:absolute; inset:0; height:100% }
.picture svg * { vector-effect:non-scaling-stroke }
.picture .peak { filter:drop-shadow(0 0 1px #000) }
.picture span { position:absolute; transform:translate(-50%,-50%); font-size:12px; line-height:1;
  padding:2px 4px; border-radius:3px; background:#0a0a1cb0; color:#fff; white-space:nowrap }
.scale { display:flex; align-items:flex-start; gap:10px; color:var(--soft); font-size:12.5px;
  line-height:1; margin-top:8px }
.scale i { position:relative; flex:1; height:9px; border-radius:3px; margin-bottom:17px;
  font-style:normal } .scale i span { position:absolute; top:13px; transform:translateX(-50%) }
.gallery { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,262px),1fr));
  gap:12px; margin-top:8px } figure { margin:0; min-width:0 }
figcaption { font-size:12.5px; color:var(--soft); overflow-wrap:anywhere; line-height:1.4;
  margin-top:4px } figcaption b { color:var(--ink) }
.scroll { overflow-x:auto } table { border-collapse:collapse; width:100%; font-size:13.5px }
th { text-align:left; color:var(--soft); font-weight:500 }
th, td { padding:4px 12px 4px 0; border-bottom:1px solid var(--line); vertical-align:top }
td { overflow-wrap:anywhere } td:not(.n) { min-width:6.5em }
td.n, th.n { text-align:right; white-space:nowrap }
tr:last-child > * { border-bottom:0 }
section > img { display:block; max-width:100%; height:auto }
footer { color:var(--soft); font-size:13px; padding:4px 0 34px }
@media (max-width:480px) { main, header { padding-inline:11px } section { padding:12px 12px }
  .card { flex-basis:44%; padding:10px 12px } .card b { font-size:21px } .cards { gap:9px } }
@media print { @page { margin:13mm } body { print-color-adjust:exact }
  body { background:#fff; font-size:11pt } nav { display:none } main, header { padding-inline:0 }
  .cards { gap:6px } .card { flex-basis:120px; padding:6px 9px } .card b { font-size:17px }
  .grid2 { grid-template-columns:1fr 1fr } .gallery { grid-template-columns:repeat(3,1fr) }
  .card, .chart, .picture, .grid2 section, figure, tr { break-inside:avoid }
  h2 { break-after:avoid } a { color:inherit } .scroll { overflow:visible } }
"""


def _variables(colours: Mapping[str, str]) -> str:
    return " ".join(f"--{use}:{colour};" for use, colour in colours.items())


STYLE = _STYLE.replace("@light", _variables(LIGHT)).replace("@dark", _variables(DARK))


def page(title: str, header: str, body: str, footer: str) -> str:
    """Return a whole page; everything but the title is markup.

    Control characters, as file names may hold them, are spelled out.
    """
    return harmless(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>{header}</header>\n<main>{body}<footer>{footer}</footer></main>\n"
        "</body>\n</html>\n",
        kept="\n",
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
