"""The command line, `softtargets`; one short file per command."""

import sys

NEEDS = ("cyclopts", "jinja2", "matplotlib", "msgspec", "numpy", "rich", "scipy", "sklearn")


def main() -> None:
    """Run the command line and exit: 0 done, 2 something to mend, 130 interrupted."""
    from importlib.util import find_spec

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
