"""One colour, dash and marker per method, and the greys; named so that a page can restyle them."""

from dataclasses import dataclass

INK = "#1d1d1f"
MUTED = "#5f6368"
RULE = "#d5d7da"
PAPER = "#ffffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a method is drawn; the dash and the marker tell methods apart without colour.

    Attributes:
        light: colour on white, of the Okabe-Ito palette, darkened where it is too pale for lines.
        dark: colour on black.
        dash: as `linestyle` of matplotlib.
        marker: as `marker` of matplotlib.
    """

    light: str
    dark: str
    dash: str | tuple[float, tuple[float, ...]]
    marker: str


_LOOKS = {
    "hard": Look(light="#4d5156", dark="#c4c7cc", dash="-", marker="o"),
    "ls": Look(light="#0072b2", dark="#56b4e9", dash="-", marker="s"),
    "ols": Look(light="#d55e00", dark="#f0803c", dash=(0, (5, 1.5)), marker="^"),
    "ils1": Look(light="#009e73", dark="#33c79b", dash=(0, (3, 1, 1, 1)), marker="D"),
    "ils2": Look(light="#b8608f", dark="#dc94bd", dash=(0, (1.2, 1.2)), marker="v"),
    "ils": Look(light="#b07d00", dark="#e6b034", dash=(0, (6, 1.5, 1.5, 1.5)), marker="P"),
}
_OTHER = Look(light="#7a5cbf", dark="#b39ddb", dash="-", marker="X")


def look(method: str) -> Look:
    """Return how the method is drawn, the same in every figure."""
    return _LOOKS.get(method, _OTHER)


def colour_name(method: str) -> str:
    """Return the name of the page's variable that holds the colour of the method."""
    return f"method-{method if method in _LOOKS else 'other'}"


def dashes(method: str) -> str:
    """Return the dash of the method as SVG has it, "" for a solid line, for a line 1.8 thick."""
    dash = look(method).dash
    return "" if isinstance(dash, str) else " ".join(f"{1.8 * length:g}" for length in dash[1])


def variables(*, dark: bool) -> dict[str, str]:
    """Return the value of each colour variable of the page."""
    greys = {
        "ink": "#e8e8ea" if dark else INK,
        "muted": "#a3a7ad" if dark else MUTED,
        "rule": "#3a3d42" if dark else RULE,
        "paper": "#16181b" if dark else PAPER,
    }
    methods = {
        f"method-{name}": each.dark if dark else each.light
        for name, each in {**_LOOKS, "other": _OTHER}.items()
    }
    return {**greys, **methods}
