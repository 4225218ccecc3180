"""The application: parses, calls a command, and turns what users can mend into one line."""

import os
import sys
from importlib import import_module

from cyclopts import App, CycloptsError

from softtargets.cli.audit import audit
from softtargets.cli.bench import bench
from softtargets.cli.claims import claims
from softtargets.cli.compare import compare
from softtargets.cli.methods import methods
from softtargets.cli.report import report


def _application() -> App:
    return App(
        name="softtargets",
        help="Label smoothing: compare methods on real data, test the papers' claims, audit "
        "predictions, measure costs.",
        version_flags=("--version",),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )


app = _application()
app.command(compare)
app.command(report)
app.command(claims)
app.command(audit)
app.command(bench)
app.command(methods)


def application(arguments: list[str]) -> App:
    """Return the application that has the options of the task whose data are named.

    Args:
        arguments: the command line without the program's name.
    """
    kind, _ = _task(arguments)
    if kind == "classification":
        return app
    of_task = _application()
    of_task.command(import_module(f"softtargets.cli.tasks.{kind}").compare)
    return of_task


def _task(arguments: list[str]) -> tuple[str, str]:
    """Return the kind of runs that a command line is about, and the word for their data."""
    from softtargets.lab.kinds import kind_of_data

    source = _value_of("--data", arguments) if arguments[:1] == ["compare"] else None
    return kind_of_data(source or ""), source or ""


def _further(arguments: list[str]) -> str:
    """Say where the options of a task are listed, to who may have given those of another."""
    kind, source = _task(arguments)
    if kind == "classification":
        return ""
    return f" This is a comparison in {kind}: its options are those of --data {source} --help"


def _value_of(option: str, arguments: list[str]) -> str | None:
    """Return what follows an option, the last time that it is given."""
    found = None
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == option:
            found = following
        elif argument.startswith(f"{option}="):
            found = argument.partition("=")[2]
    return found


def run(arguments: list[str]) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name.

    Returns:
        The exit status.
    """
    from softtargets.audit.errors import AuditError
    from softtargets.lab.errors import LabError

    try:
        status = application(arguments)(arguments, exit_on_error=False, print_error=False)
    except (CycloptsError, AuditError, LabError) as error:
        further = _further(arguments) if isinstance(error, CycloptsError) else ""
        print(f"softtargets: {' '.join(str(error).split())}{further}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # one of several processes speaks for all
            kept = "; finished runs and epochs are kept, the same command goes on"
            resumes = arguments[:1] in (["compare"], ["claims"])
            print(f"softtargets: interrupted{kept if resumes else ''}", file=sys.stderr)
        return 130
    return status if isinstance(status, int) else 0
