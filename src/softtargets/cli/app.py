"""The application: parses, calls a command, and turns what users can mend into one line."""

import os
import sys

from cyclopts import App, CycloptsError

from softtargets.cli.audit import audit
from softtargets.cli.bench import bench
from softtargets.cli.claims import claims
from softtargets.cli.compare import compare
from softtargets.cli.methods import methods
from softtargets.cli.report import report

app = App(
    name="softtargets",
    help="Label smoothing: compare methods on real data, test the papers' claims, audit "
    "predictions, measure costs.",
    version_flags=("--version",),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(compare)
app.command(report)
app.command(claims)
app.command(audit)
app.command(bench)
app.command(methods)


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
        status = app(arguments, exit_on_error=False, print_error=False)
    except (CycloptsError, AuditError, LabError) as error:
        print(f"softtargets: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # one of several processes speaks for all
            kept = "; finished runs and epochs are kept, the same command goes on"
            resumes = arguments[:1] in (["compare"], ["claims"])
            print(f"softtargets: interrupted{kept if resumes else ''}", file=sys.stderr)
        return 130
    return status if isinstance(status, int) else 0
