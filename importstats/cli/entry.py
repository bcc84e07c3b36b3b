"""The entry: one table of commands, and every expected error as one line and an exit code."""

from __future__ import annotations

import os
import sys
from inspect import cleandoc
from typing import Final

from cyclopts import App, CycloptsError, Parameter

from importstats.cli.outcomes import EXIT_WRONG_COMMAND_LINE, exit_code_of
from importstats.errors import ImportStatsError
from importstats.version import __version__

#: Each command, the function behind it, and its help, whose first line ``importstats --help``
#: shows. A command is imported when it is called: most need neither matplotlib nor a simulator.
COMMANDS: Final = {
    "demo": ("demo:demo", "Watch a simulated import being collected, and keep what it leaves."),
    "watch": (
        "collecting:watch",
        """Collect one job and show it live.

        Ctrl-C ends the view and keeps everything. If the output is no terminal, a line is printed
        for each snapshot instead.
        """,
    ),
    "collect": (
        "collecting:collect",
        """Collect jobs to a store until they end, or for ever with --follow.

        Exits 0 when all jobs completed or on SIGTERM, 8 if one failed, 9 if the end of one was
        missed; 3 to 7 name an error: 3 unreachable, 4 token refused, 5 job not known, 6 store,
        7 bad answer.
        """,
    ),
    "snapshot": (
        "collecting:snapshot",
        """Store one snapshot of each job and exit: for cron, systemd timers and CronJobs.

        Exits as `collect` does, but the first error of any job counts, after all the others were
        stored. A job whose end is in the store is not asked about again unless named.
        """,
    ),
    "jobs": ("collecting:list_jobs", "List the import jobs the server knows."),
    "summary": ("analysing:summarise", "Show every job of a store in one table."),
    "report": (
        "analysing:write_report",
        "Write a report of one job out of a store: verdict, ETA, figures, diagnosis.",
    ),
    "fleet": (
        "analysing:show_fleet",
        "Analyse all jobs of a store: ETAs, slow collections, failure causes, rates, phases.",
    ),
    "backtest": (
        "analysing:score_methods",
        "Replay the completed jobs of a store and score the ETA beside the simple methods.",
    ),
    "compact": (
        "storing:compact",
        "Merge a store's many small files into few, with no reader disturbed.",
    ),
    "simulate": (
        "simulating:simulate",
        """Run a server of simulated import jobs, to try the other commands on.

        Ctrl-C ends it.
        """,
    ),
}

app = App(
    name="importstats",
    help="Collect, analyse and show the progress of Milvus and Zilliz Cloud bulk imports.",
    version=f"importstats {__version__}",
    help_flags=["--help", "-h"],
    default_parameter=Parameter(negative=(), show_env_var=True),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for _name, (_function, _help) in COMMANDS.items():
    app.command(f"importstats.cli.{_function}", name=_name, help=cleandoc(_help))


def main() -> None:
    """Run the command line; an expected error is one line and an exit code of its own."""
    try:
        outcome = app(print_error=False, exit_on_error=False)
    except CycloptsError as error:
        sys.stderr.write(f"importstats: error: {error}\n")
        sys.exit(EXIT_WRONG_COMMAND_LINE)
    except ImportStatsError as error:
        sys.stderr.write(f"importstats: error: {error}\n")
        sys.exit(exit_code_of(error))
    except BrokenPipeError:
        # The reader of our output (head, less) is gone: not worth a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(outcome or 0)
