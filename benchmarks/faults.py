"""What becomes of acknowledged snapshots under every fault, as a table.

    python benchmarks/faults.py [--smoke] [--json FILE]

Takes about five minutes. The trials, and their short forms as tests, are in tests/faults.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "faults")]

import campaign  # noqa: E402
from campaign import Outcome, SkipTrialError  # noqa: E402

MOST_WORDS = 140
LONG = {
    "server_restarts": {"down_s": 12.0},
    "clock_jumps": {"offsets_s": (-7200, 7200, -86400, 86400, -60, 60, -1, 0)},
    "two_collectors": {"snapshots": 100},
    "killed": {"times": 40},
    "compaction_killed": {"times": 40},
}


def outcomes(*, smoke: bool) -> Iterator[Outcome]:
    """Each trial's outcome; with `smoke` those of the first of each kind, in their short form."""
    yield from campaign.weather(requests=1 if smoke else 6)
    for name, trial in list(campaign.TRIALS.items())[: 1 if smoke else None]:
        try:
            yield partial(trial, **({} if smoke else LONG.get(name, {})))()
        except SkipTrialError as reason:
            print(f"{name} is left out: {reason}", file=sys.stderr)


def row(outcome: Outcome) -> str:
    recovery = "" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f}"
    code = "goes on" if outcome.exit_code is None else str(outcome.exit_code)
    said = outcome.message.replace("|", "\\|")
    said = said if len(said) <= MOST_WORDS else said[: MOST_WORDS - 1] + "…"
    counts = f"{outcome.acknowledged} | {outcome.lost} | {outcome.duplicated}"
    return f"| {outcome.fault} | {counts} | {recovery} | {code} | {said} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--smoke", action="store_true", help="only the first trials, short")
    options.add_argument("--json", type=Path)
    options = options.parse_args()
    print("| fault | acknowledged | lost | duplicated | recovery, s | exit code | what it says |")
    print("|---|---|---|---|---|---|---|")
    seen = []
    for outcome in outcomes(smoke=options.smoke):
        seen.append(outcome)
        print(row(outcome), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in seen], indent=1) + "\n")
    if any(each.lost or each.duplicated for each in seen):
        sys.exit("acknowledged snapshots were lost or duplicated")


if __name__ == "__main__":
    main()
