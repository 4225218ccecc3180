"""The command line, `softtargets`; one short file per command."""

import codecs
import io
import os
import sys

NEEDS = ("cyclopts", "jinja2", "matplotlib", "msgspec", "numpy", "rich", "scipy", "sklearn")

# The signs of the tables where the terminal's encoding lacks them; one column wide each.
PLAINER = {
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{NO-BREAK SPACE}": " ",
    "±": "~",
    "✓": "v",
    "✗": "x",
    "•": "*",
}


CLOSED = 141  # 128 + SIGPIPE: the status of programs that end so


def _plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(PLAINER.get(sign, "?") for sign in signs), error.end


def main() -> None:
    """Run the command line and exit: 0 done, 2 something to mend, 130 interrupted, 141 unread."""
    streams = [each for each in (sys.stdout, sys.stderr) if isinstance(each, io.TextIOWrapper)]
    codecs.register_error("softtargets", _plainer)
    for stream in streams:
        stream.reconfigure(errors="softtargets")
    try:
        status = _run(sys.argv[1:])
    except BrokenPipeError:
        status = CLOSED
    except SystemExit as error:  # as rich ends a program that nobody reads
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        status = CLOSED
    for stream in streams:
        if not _written(stream):
            status = CLOSED
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    from importlib.util import find_spec

    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        print(
            f"softtargets: the command line needs {', '.join(missing)}; "
            "pip install 'softtargets[lab]'",
            file=sys.stderr,
        )
        return 2
    from softtargets.cli.app import run

    return run(arguments)


def _written(stream: io.TextIOWrapper) -> bool:
    """Whether all output could be written; else the rest goes nowhere, without a word at exit."""
    try:
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
