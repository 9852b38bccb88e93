"""Numbers as the report writes them."""

import math


def share(value: float | None) -> str:
    """A share in [0, 1] with three digits, or n/a."""
    return number(value, 3)


def number(value: float | None, digits: int = 1) -> str:
    """A number with so many digits after the decimal point; n/a for None, NaN and infinity."""
    return "n/a" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def quantity(value: float | None, unit: str, digits: int) -> str:
    """A number with its unit: 41.2%, 4.5 mm, 3 of 21; n/a without a unit where there is no number."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:.{digits}f}{unit}" if unit in ("", "%", "°") else f"{value:.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
