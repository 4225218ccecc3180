"""The one error of the laboratory that a user is meant to read."""


class LabError(Exception):
    """Something outside the program is wrong; the message says what, and the way out."""


def reason(error: BaseException) -> str:
    r"""Return what another library says of an error, in one line.

    Args:
        error: caught.

    Example:
        >>> reason(ValueError("two\n lines")), reason(EOFError())
        ('two lines', 'EOFError')
    """
    return " ".join(str(error).split()) or type(error).__name__
