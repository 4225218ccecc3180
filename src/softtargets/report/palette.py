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
        hue: name of the colour.
        dash: as `linestyle` of matplotlib.
        marker: as `marker` of matplotlib.
    """

    hue: str
    dash: str | tuple[float, tuple[float, ...]]
    marker: str

    @property
    def light(self) -> str:
        """The colour on white."""
        return _HUES[self.hue][0]


# On white and on black: the Okabe-Ito palette, darkened where too pale for lines, and more.
_HUES = {
    "grey": ("#4d5156", "#c4c7cc"),
    "blue": ("#0072b2", "#56b4e9"),
    "vermilion": ("#d55e00", "#f0803c"),
    "green": ("#009e73", "#33c79b"),
    "pink": ("#b8608f", "#dc94bd"),
    "gold": ("#b07d00", "#e6b034"),
    "purple": ("#7a5cbf", "#b39ddb"),
    "teal": ("#00798c", "#4cc0d0"),
    "olive": ("#6a7b00", "#b4c43c"),
    "brown": ("#85552e", "#cc9d70"),
    "red": ("#b8283a", "#ff7f86"),
    "navy": ("#2b3a8f", "#8ea2ff"),
}
_DASHED = (0, (5, 1.5))
_LONG = (0, (9, 2))
_DOTTED = (0, (1.2, 1.2))
_DASH_DOT = (0, (3, 1, 1, 1))
_LONG_DOT = (0, (6, 1.5, 1.5, 1.5))
_TWO_DOTS = (0, (4, 1, 1, 1, 1, 1))
# In segmentation the dash tells the loss and the marker the target; the colours are so dealt that
# those of one loss, and those of one target, stay apart without red or green too.
_LOSSES: dict[str, tuple[str | tuple[float, tuple[float, ...]], tuple[str, ...]]] = {
    "ce": ("-", ("grey", "blue", "vermilion", "green")),
    "dice": (_DASHED, ("navy", "teal", "red", "gold")),
    "ce+dice": (_DOTTED, ("purple", "olive", "pink", "brown")),
}
_TARGETS = {"": "o", "-ls": "s", "-ols": "^", "-spatial": "D"}
# Two methods share a hue only if they are of different families or tasks.
_LOOKS = {
    "hard": Look(hue="grey", dash="-", marker="o"),
    "ls": Look(hue="blue", dash="-", marker="s"),
    "prior": Look(hue="brown", dash=_DASHED, marker="<"),
    "las": Look(hue="teal", dash=_DASH_DOT, marker=">"),
    "tsla": Look(hue="red", dash=_DOTTED, marker="p"),
    "ols": Look(hue="vermilion", dash=_DASHED, marker="^"),
    "maxsup": Look(hue="purple", dash="-", marker="X"),
    "bootstrap-soft": Look(hue="olive", dash=_DASH_DOT, marker="h"),
    "bootstrap-hard": Look(hue="blue", dash=_DOTTED, marker="*"),
    "ils1": Look(hue="green", dash=_DASH_DOT, marker="D"),
    "ils2": Look(hue="pink", dash=_DOTTED, marker="v"),
    "ils": Look(hue="gold", dash=_LONG_DOT, marker="P"),
    "cls": Look(hue="brown", dash=_LONG, marker="d"),
    "distill": Look(hue="red", dash="-", marker="8"),
    "distill-ls": Look(hue="blue", dash=_LONG, marker="X"),
    "distill-forward-est": Look(hue="purple", dash=_DASH_DOT, marker="p"),
    "mbls": Look(hue="teal", dash="-", marker="s"),
    "acls": Look(hue="purple", dash=_DASHED, marker="^"),
    "cp": Look(hue="olive", dash=_DOTTED, marker="<"),
    "zipf": Look(hue="pink", dash=_LONG_DOT, marker="D"),
    "focal": Look(hue="gold", dash=_DASH_DOT, marker=">"),
    "gce": Look(hue="teal", dash=_DASHED, marker="D"),
    "sce": Look(hue="purple", dash=_DOTTED, marker="v"),
    "forward": Look(hue="green", dash="-", marker="^"),
    "backward": Look(hue="red", dash=_LONG_DOT, marker="<"),
    "forward-est": Look(hue="gold", dash=_DASHED, marker="P"),
    "unigram": Look(hue="green", dash=_DASH_DOT, marker="D"),
    **{
        loss + targets: Look(hue=hue, dash=dash, marker=marker)
        for loss, (dash, hues_of) in _LOSSES.items()
        for hue, (targets, marker) in zip(hues_of, _TARGETS.items(), strict=True)
    },
    "mixup": Look(hue="green", dash="-", marker="p"),
    "mixup-ls": Look(hue="vermilion", dash=_DOTTED, marker="h"),
    "cutmix": Look(hue="purple", dash=_LONG_DOT, marker="s"),
    "mollify": Look(hue="brown", dash="-", marker="D"),
    "mollify-noise": Look(hue="olive", dash="-", marker="v"),
    "mollify-blur": Look(hue="pink", dash=_DASHED, marker="d"),
}
# Of three classes in one picture of a method.
CLASSES = (
    Look(hue="blue", dash="-", marker="o"),
    Look(hue="vermilion", dash="-", marker="^"),
    Look(hue="green", dash="-", marker="s"),
)
_OTHER = Look(hue="purple", dash=_TWO_DOTS, marker="X")


def look(method: str) -> Look:
    """Return how the method is drawn, the same in every figure."""
    return _LOOKS.get(method, _OTHER)


def colour_name(method: str) -> str:
    """Return the name of the page's variable that holds the colour of the method."""
    return f"hue-{look(method).hue}"


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
    hues = {f"hue-{name}": pair[1 if dark else 0] for name, pair in _HUES.items()}
    return {**greys, **hues}


def hues() -> dict[str, str]:
    """Return the colours on white by name."""
    return {name: pair[0] for name, pair in _HUES.items()}
