"""The one error of the laboratory that a user is meant to read."""

import codecs
from pathlib import Path


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


def check_not_utf16(path: Path | str, content: bytes) -> None:
    """Raise where a text begins with the byte order mark of UTF-16, which UTF-8 never does.

    Args:
        path: of the text's file.
        content: of the text.

    Raises:
        LabError: it does.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise LabError(
            f"{path} is UTF-16, as its first bytes say; texts must be UTF-8: convert the file, as "
            "with `iconv -f UTF-16 -t UTF-8`"
        )
