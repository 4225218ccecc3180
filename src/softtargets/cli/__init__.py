"""The command line, `softtargets`; one short file per command."""

import codecs
import io
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


def _plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(PLAINER.get(sign, "?") for sign in signs), error.end


def main() -> None:
    """Run the command line and exit: 0 done, 2 something to mend, 130 interrupted."""
    from importlib.util import find_spec

    codecs.register_error("softtargets", _plainer)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="softtargets")
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        print(
            f"softtargets: the command line needs {', '.join(missing)}; "
            "pip install 'softtargets[lab]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from softtargets.cli.app import run

    sys.exit(run(sys.argv[1:]))
