"""Turn formulas into MathML while the pages are built, so that they need no script to be shown."""

import re
from html import unescape

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(html: str, **_: object) -> str:
    """Replace the formulas of a page."""

    def as_mathml(found: re.Match) -> str:
        tag, bracket, formula = found.groups()
        display = "block" if bracket == "[" else "inline"
        return f"<{tag}>{convert(unescape(formula), display=display)}</{tag}>"

    return FORMULA.sub(as_mathml, html)
