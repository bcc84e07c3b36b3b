"""The entry point: the table of commands; expected errors become one line and an exit code."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from inspect import cleandoc
from typing import Annotated, Final, Literal

from cyclopts import App, CycloptsError, Parameter

from importstats.cli.outcomes import EXIT_OTHER, EXIT_USAGE, exit_code_of
from importstats.errors import ImportStatsError
from importstats.version import __version__

#: Each command, the function behind it, and its help, whose first line ``importstats --help``
#: shows. A command is imported when it is called: most need neither matplotlib nor a simulator.
COMMANDS: Final = {
    "demo": (
        "demo:show_demo",
        "Watch a simulated import as it is collected; keep its store, figure and report.",
    ),
    "watch": (
        "collecting:watch",
        """Collect one job and show it live.

        Ctrl-C ends the view and keeps everything. If the output is no terminal, a line is printed
        for each snapshot instead. Exits as `collect` does, 130 if stopped by Ctrl-C, 143 by
        SIGTERM.
        """,
    ),
    "collect": (
        "collecting:collect",
        """Collect jobs to a store until they end, or for ever with --follow.

        Exits 0 when all jobs completed, 8 if one failed, 9 if the end of one was missed; 3 to 7
        name an error: 3 unreachable, 4 token refused, 5 job not known, 6 store, 7 bad answer.
        If a signal stops it, it exits 130 or 143; with --follow, 0.
        """,
    ),
    "wait": (
        "waiting:wait",
        """Wait until jobs completed, are at work, or can be committed; collect them meanwhile.

        Exits 0 once all have reached that point, 8 as soon as one has failed, 10 if the rows differ
        from those expected, 124 if the time runs out, 130 or 143 if a signal stops it; else as
        `collect` does.
        """,
    ),
    "snapshot": (
        "collecting:snapshot",
        """Store one snapshot of each job and exit: for cron, systemd timers and CronJobs.

        Exits as `collect` does, by the worst outcome, after all jobs were stored. If a job's end is
        stored already, it is asked about again only if you name it.
        """,
    ),
    "doctor": (
        "examining:doctor",
        """Check, in order, what collecting needs, and name the first thing wrong and its fix.

        One line each: address, TLS, server, token, databases, privilege, describe, clock, store,
        disk and retention. Exits 0 if nothing failed, else as `collect` would.
        """,
    ),
    "submit": (
        "acting:submit",
        """Create import jobs on the server, and print their ids.

        Sends the request once: if no answer comes, the job may or may not exist, and the message
        says so. Zilliz Cloud reads the files with IMPORTSTATS_STORAGE_ACCESS_KEY,
        IMPORTSTATS_STORAGE_SECRET_KEY and IMPORTSTATS_STORAGE_TOKEN.
        """,
    ),
    "commit": (
        "acting:commit",
        "Commit two-phase imports (Milvus 3.0) that wait for a commit: rows become visible.",
    ),
    "abort": (
        "acting:abort",
        """Abort two-phase imports (Milvus 3.0), which discards the rows that they have written.

        Asks before it acts, unless --yes is given. A job whose rows are all written is refused
        unless --discard is given too.
        """,
    ),
    "jobs": ("collecting:list_jobs", "List the import jobs the server knows."),
    "summary": ("summing:summarise", "Show every job of a store in one table."),
    "group": (
        "grouping:show_group",
        """Show many jobs of a store as one: one progress, one ETA, one list of findings.

        For a load or a restore: the jobs of `submit --save`, of a collection, or by id. Exits 8 if
        one failed, 10 if one has other rows than its file says.
        """,
    ),
    "report": (
        "analysing:write_report",
        "Write a report of one stored job: verdict, ETA, figures, diagnosis.",
    ),
    "compare": (
        "analysing:compare_jobs",
        """Compare two jobs of a store: which is slower, by how much, in which phase.

        Prints Markdown, to read or to paste.
        """,
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
        "Merge a store's many small files into few, without disturbing readers.",
    ),
    "mcp": (
        "agents:serve_agents",
        """Let an agent read a store through the Model Context Protocol.

        The agent's program starts it and talks to it on standard input and output. Needs the extra
        mcp.
        """,
    ),
    "completion": (
        "entry:completion",
        """Print the script with which a shell completes commands and options.

        For example, in ~/.bashrc: source <(importstats completion bash)
        """,
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
    # The list of commands has no markup, and rendering Markdown takes long to import.
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_env_var=True),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for _name, (_function, _help) in COMMANDS.items():
    app.command(
        f"importstats.cli.{_function}", name=_name, help=cleandoc(_help), help_format="markdown"
    )


@app.meta.default
def _common_options(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    color: Annotated[
        Literal["auto", "always", "never"],
        Parameter(group="Common parameters", help="Colours in the output."),
    ] = "auto",
) -> object:
    # What has been imported by now stays, see `main`.
    if not gc.get_freeze_count():
        gc.freeze()
    gc.enable()
    if color != "auto":
        # rich reads these two (https://no-color.org, https://force-color.org).
        wanted, other = ("FORCE_COLOR", "NO_COLOR")[:: 1 if color == "always" else -1]
        os.environ[wanted] = "1"
        os.environ.pop(other, None)
    return app(tokens, print_error=False, exit_on_error=False)


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the script with which a shell completes commands and options."""
    sys.stdout.write(app.generate_completion(shell=shell))


def main() -> None:
    """Run the command line; an expected error becomes one line and an exit code.

    With ``IMPORTSTATS_TRACEBACK=1``, an ``OSError`` or ``ValueError`` shows its traceback.
    """
    # If the output can only take ASCII, other characters are escaped instead of raising.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # To look for garbage while a command is imported takes a tenth of a short one's time.
    gc.disable()
    try:
        outcome = app.meta(print_error=False, exit_on_error=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (head, less) has gone, which is no error.
        _discard_output()
        sys.exit(EXIT_OTHER)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (CycloptsError, ImportStatsError, OSError, ValueError) as error:
        if os.environ.get("IMPORTSTATS_TRACEBACK"):
            raise
        _discard_output()
        sys.stderr.write(f"importstats: error: {_in_words(error)}\n")
        sys.exit(_exit_code(error))
    finally:
        gc.enable()
    sys.exit(outcome if isinstance(outcome, int) else 0)


def _in_words(error: Exception) -> str:
    """An error's message on one line, for standard error."""
    # It imports pandas, which takes time that most calls need not spend.
    from importstats.text import printable

    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return printable(f"{error.strerror}{where}", 400)
    return printable(str(error), 1000) or type(error).__name__


def _exit_code(error: Exception) -> int:
    if isinstance(error, CycloptsError):
        return EXIT_USAGE
    return exit_code_of(error) if isinstance(error, ImportStatsError) else EXIT_OTHER


def _discard_output() -> None:
    """Discard what standard output still buffers, so that the exit does not fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
