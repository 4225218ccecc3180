"""Texts are UTF-8; of those that are not, an error says where and the way out."""

import codecs
from pathlib import Path

# The longer marks first: that of UTF-32 begins as that of UTF-16 does.
_MARKS = {
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}


def decoded(path: Path | str, content: bytes, error: type[Exception], *, line: int = 1) -> str:
    r"""Return the text that bytes are, without a byte order mark.

    Args:
        path: of the text's file.
        content: of the text, or of some whole lines of it.
        error: raised where it is not UTF-8; the line is named, and the byte of the line.
        line: number of the first line.

    Example:
        >>> decoded("a.txt", "Zwei Männer\n".encode(), ValueError)
        'Zwei Männer\n'
        >>> decoded("a.txt", "Hund\nBär\n".encode("latin-1"), ValueError, line=7)
        Traceback (most recent call last):
            ...
        ValueError: a.txt, line 8: byte 2 of the line, 0xe4, is not UTF-8; convert the file, as with
        `iconv -f LATIN1 -t UTF-8`
    """
    if line == 1:
        _check_mark(path, content, error)
        content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode()
    except UnicodeDecodeError as found:
        number = line + content.count(b"\n", 0, found.start)
        place = found.start - content.rfind(b"\n", 0, found.start)
        raise error(
            f"{path}, line {number}: byte {place} of the line, 0x{content[found.start]:02x}, is "
            "not UTF-8; convert the file, as with `iconv -f LATIN1 -t UTF-8`"
        ) from found


def _check_mark(path: Path | str, content: bytes, error: type[Exception]) -> None:
    """Raise where a text begins with the byte order mark of another encoding than UTF-8."""
    for name, marks in _MARKS.items():
        if content.startswith(marks):
            raise error(
                f"{path} is {name}, as its first bytes say; texts must be UTF-8: convert the file, "
                f"as with `iconv -f {name} -t UTF-8`"
            )
