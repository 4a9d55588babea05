"""Numbers of the scorecard in words, the same on a terminal and on a page. Pure."""

from __future__ import annotations

from .checks import Check, Measured


def measured(check: Check) -> str:
    return "not measured" if check.measured is None else _text(check.measured, check.unit)


def limit(check: Check) -> str:
    """Empty where the check itself says what is wanted."""
    value = check.limit
    if value is None:
        return ""
    if isinstance(value, str):  # says its own relation, such as "≥ 20"
        return _with_unit(value, check.unit)
    text = f"{value:g} s" if check.unit == "s" else _text(value, check.unit)
    return f"{'≤ ' if value else ''}{text}"


def verdict(check: Check) -> str:
    return "pass" if check.passed else "FAIL"


def _text(value: Measured, unit: str) -> str:
    if unit == "s" and isinstance(value, (int, float)):
        return duration(value)
    return _with_unit(f"{value:,}" if isinstance(value, int) else str(value), unit)


def _with_unit(text: str, unit: str) -> str:
    if text == "1":
        unit = unit.removesuffix("s") if unit != "s" else unit
    return f"{text} {unit}" if unit else text


def duration(seconds: float) -> str:
    """Three digits that mean something: 7.5 ms, 412 ms, 1.02 s, 63 s."""
    if abs(seconds) < 0.1:
        return f"{seconds * 1000:.1f} ms"
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if abs(seconds) < 10 else f"{seconds:.0f} s"


def percent(score: float) -> str:
    return f"{score:g}"
