"""Kinds of parameters that several commands take."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token


def whole(kind: type[int], tokens: Sequence[Token]) -> int:
    """Parse a whole number; cyclopts would round 1.5 to 2."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"it must be a whole number, got {text!r}") from error


Count = Annotated[int, Parameter(converter=whole)]

Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())]


def words(texts: Sequence[str]) -> tuple[str, ...]:
    """Split at commas and spaces.

    Example:
        >>> words(("hard,ls", "ols"))
        ('hard', 'ls', 'ols')
    """
    return tuple(",".join(texts).replace(",", " ").split())
