"""A hundred thousand damaged answers through parser, store, frames, analysis, figures and reports.

    python benchmarks/fuzz.py [--answers 100000] [--seed 1]

Stops at the first error or broken invariant and names the seed and the batch. The damage is that of
tests/mutations.py, the invariants are those of tests/fuzzing.py.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import matplotlib

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fuzzing import Tally, rounds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--answers", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--smoke", action="store_true", help="small and quick: does it run?")
    options = options.parse_args()
    if options.smoke:
        options.answers = 300
    matplotlib.use("agg")
    warnings.simplefilter("error")
    started, done, tally = time.monotonic(), 0, Tally()
    try:
        for tally in rounds(options.seed, options.answers):
            done += 1
            print(f"{tally.answers:,} answers, {time.monotonic() - started:.0f} s", flush=True)
    except Exception:
        print(f"failed in batch {done} of seed {options.seed}", file=sys.stderr)
        raise
    refusals = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tally.refusals.items()))
    print(
        f"{tally.answers:,} answers of {tally.jobs:,} jobs: {tally.accepted:,} accepted, "
        f"{tally.refused:,} refused ({refusals}); {tally.reports} figures and reports each; "
        "nothing failed, no invariant broke"
    )


if __name__ == "__main__":
    main()
