"""Numbers as people read them."""

from __future__ import annotations

import math


def number(value: float, digits: int = 3) -> str:
    """Write a number shortly: grouped thousands, no trailing zeros, powers of ten when far out."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if value == round(value) and abs(value) < 1e7:
        return f"{round(value):,}".replace(",", "\u2009")
    # 999.6 with three digits is 1000, which a format of three digits writes as a power.
    if 10.0**digits - 0.5 <= abs(value) < 1e7:
        return f"{value:,.0f}".replace(",", "\u2009")
    if 1e-3 <= abs(value) < 10.0**digits:
        return f"{value:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if mantissa == "1" else f"{mantissa}·10{power}"
