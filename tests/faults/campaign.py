"""The fault campaign: `importstats collect` as a process, and what can happen to it.

Each trial brings one fault about and says what became of the snapshots that the collector
acknowledged in its log. The short forms are tests (test_campaign.py), the long ones a table
(benchmarks/faults.py).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from collecting import NOBODY, STOPPED, TOKEN, Outcome, SkipTrialError, World, world

from importstats.simulator import SimulatedCluster, SimulatorServer, make_shape, simulate_job

# --- Faults of the server and the network, one process through all of them ------------------------

#: Faults that hit so many requests, and then are over.
COUNTED = {
    "HTTP 503, three times": {"server_errors": 3},
    "HTTP 429 with Retry-After: 1, twice": {"throttled": 2},
    "connection closed without an answer, three times": {"dropped": 3},
    "connection closed in the body": {"dropped_in_body": 2},
    "JSON cut off": {"truncated": 2},
    "HTML of a proxy": {"html": 2},
    "redirect to another host": {"redirected": 2},
    "answer of 300 MB": {"huge": 1, "huge_bytes": 300 * 2**20},
}
#: Faults that last until they are taken away.
LASTING = {
    "answers take 0.5 s": {"latency_s": 0.5},
    "answers take longer than the timeout": {"latency_s": 1.5},
    "body drips, 20 bytes/s": {"drip_bytes_per_s": 20.0},
    "HTTP 503 to a third of the requests": {"server_error_rate": 0.33},
}


def weather(*, requests: int = 2) -> Iterator[Outcome]:
    """One collector that lives through every fault of the server, one after the other."""
    with world() as here, here.collect(*here.server.job_ids) as collector:
        collector.wait_for_saved()
        faults = here.server.faults
        for fault, setting in {**COUNTED, **LASTING}.items():
            before = len(collector.saved())
            gaps_before = len(collector.events("no answer"))
            asked = len(here.server.received)
            healthy = {name: getattr(faults, name) for name in setting}
            for name, value in setting.items():
                setattr(faults, name, value)
            if fault in COUNTED:
                counter = next(iter(setting))
                collector.wait_for(lambda counter=counter: not getattr(faults, counter))
            else:
                collector.wait_for(lambda n=asked: len(here.server.received) >= n + requests)
                for name, value in healthy.items():
                    setattr(faults, name, value)
            recovery_s = collector.wait_for_saved()
            gaps = collector.events("no answer")[gaps_before:]
            message = f"no answer: {gaps[-1]['reason']}" if gaps else "ridden out by retries"
            outcome = here.outcome(fault, recovery_s=recovery_s, message=message)
            outcome.acknowledged = len(collector.saved()) - before
            yield outcome
        assert collector.stop() == STOPPED


# --- Everything else, a process or more for each --------------------------------------------------


def server_restarts(*, down_s: float = 0.5) -> Outcome:
    with world() as here, here.collect(*here.server.job_ids) as collector:
        collector.wait_for_saved(3)
        here.server.restart(down_s)
        recovery_s = collector.wait_for_saved()
        assert collector.stop() == STOPPED
        return here.outcome(
            f"server down for {down_s:g} s", recovery_s=recovery_s, message=collector.message()
        )


def token_refused() -> Outcome:
    with world() as here:
        with here.collect(*here.server.job_ids) as collector:
            collector.wait_for_saved(3)
            here.server.faults.refuse_token = True
            code = collector.end()
        here.server.faults.refuse_token = False
        recovery_s, _ = _restarted(here)
        return here.outcome(
            "token refused half way",
            recovery_s=recovery_s,
            exit_code=code,
            message=collector.message(),
        )


def _restarted(here: World, become: Sequence[str] = ()) -> tuple[float, int]:
    """Start the collector anew: seconds to its first snapshot, and how it then ends."""
    with here.collect(*here.server.job_ids, become=become) as collector:
        return collector.wait_for_saved(), collector.stop()


def job_forgotten() -> Outcome:
    with world() as here, here.collect(*here.server.job_ids) as collector:
        collector.wait_for_saved(3)
        here.server.advance(10 * 86400)
        code = collector.end()
        return here.outcome("job forgotten unseen", exit_code=code, message=collector.message())


def job_id_reused() -> Outcome:
    """The id of a job that ended and was forgotten comes back for a job of other files."""
    start = datetime(2026, 5, 18, tzinfo=UTC)

    def lone_server(shape: str, port: int) -> SimulatorServer:
        spec, job = make_shape(shape, seed=3, files=5)
        cluster = SimulatedCluster(spec, seed=1, start=start)
        return SimulatorServer(cluster, [job], acceleration=0, port=port, token=TOKEN)

    truth = simulate_job(make_shape("steady", seed=3, files=5), seed=1, poll_every_s=600).truth

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        first = stack.enter_context(lone_server("steady", 0))
        here = World(folder, first, folder / "store")
        collector = stack.enter_context(here.collect("--follow", "--discover-interval", "0.2"))
        collector.wait_for_saved(2)
        first.advance(truth.duration_s + 600)
        collector.wait_for(lambda: collector.events("saved")[-1]["state"] == "Completed")
        first.advance(86400)
        port = int(first.uri.rsplit(":", 1)[1])
        first.stop()
        second = stack.enter_context(lone_server("retry_storm", port))
        assert second.job_ids == first.job_ids
        recovery_s = collector.wait_for(
            lambda: collector.events("saved")[-1]["state"] != "Completed"
        )
        assert collector.stop() == 0  # It follows for ever, so that it is stopped is no failure.
        return here.outcome("job id used again", recovery_s=recovery_s)


def names_do_not_resolve() -> Outcome:
    with world() as here:
        uri = here.server.uri.replace("127.0.0.1", "localhost")
        with here.collect(*here.server.job_ids, uri=uri, shaken=True) as collector:
            collector.wait_for_saved(2)
            (here.folder / "no-dns").touch()
            here.server.restart()  # Else the connection that stands would do.
            collector.wait_for(lambda: collector.events("no answer"))
            (here.folder / "no-dns").unlink()
            recovery_s = collector.wait_for_saved()
            assert collector.stop() == STOPPED
        return here.outcome("DNS gone", recovery_s=recovery_s, message=collector.message())


def clock_jumps(*, offsets_s: Sequence[float] = (-7200, 7200, -60, 0)) -> Outcome:
    with world() as here, here.collect(*here.server.job_ids, shaken=True) as collector:
        collector.wait_for_saved(2)
        for offset_s in offsets_s:
            # As a whole: the collector must not read half a number.
            fresh = here.folder / "clock.new"
            fresh.write_text(str(offset_s))
            fresh.rename(here.folder / "clock")
            recovery_s = collector.wait_for_saved(3)
        assert collector.stop() == STOPPED
        furthest_h = max(map(abs, offsets_s)) / 3600
        return here.outcome(
            f"clock jumps {len(offsets_s)} times, back and forth by up to {furthest_h:g} h",
            recovery_s=recovery_s,
        )


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            raise SkipTrialError("a file system cannot be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def disk_full() -> Outcome:
    with small_disk("400k") as disk, world(store=disk / "store") as here:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(150_000))
        with here.collect(*here.server.job_ids) as collector:
            code = collector.end()
        ballast.unlink()
        recovery_s, _ = _restarted(here)
        return here.outcome(
            "disk full", recovery_s=recovery_s, exit_code=code, message=collector.message()
        )


def disk_read_only() -> Outcome:
    with small_disk("20m") as disk, world(store=disk / "store") as here:
        with here.collect(*here.server.job_ids) as collector:
            collector.wait_for_saved(3)
            # Refused while a file is open for writing, which is most of the time.
            collector.wait_for(lambda: not _remounted(disk, "ro"))
            code = collector.end()
        assert not _remounted(disk, "rw")
        recovery_s, _ = _restarted(here)
        return here.outcome(
            "disk read-only", recovery_s=recovery_s, exit_code=code, message=collector.message()
        )


def _remounted(disk: Path, mode: str) -> int:
    command = ["mount", "-o", f"remount,{mode}", str(disk)]
    return subprocess.run(command, capture_output=True).returncode


def permission_lost() -> Outcome:
    with world() as here:
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        probe = [*become, sys.executable, "-m", "importstats", "--version"]
        if shutil.which("setpriv") is None or subprocess.run(probe, capture_output=True).returncode:
            raise SkipTrialError("another user cannot be had here, or not run this Python")
        # The log is opened by us; the store and matplotlib's folder are theirs.
        os.chown(here.folder, NOBODY, NOBODY)
        with here.collect(*here.server.job_ids, become=become) as collector:
            collector.wait_for_saved(3)
            _set_mode(here.store_path, 0o555)
            code = collector.end()
        _set_mode(here.store_path, 0o755)
        recovery_s, _ = _restarted(here, become=become)
        return here.outcome(
            "permission lost", recovery_s=recovery_s, exit_code=code, message=collector.message()
        )


def _set_mode(store: Path, mode: int) -> None:
    for folder, _, _ in os.walk(store):
        Path(folder).chmod(mode)


def two_collectors(*, snapshots: int = 10) -> Outcome:
    with world() as here, ExitStack() as stack:
        pair = [stack.enter_context(here.collect(*here.server.job_ids)) for _ in range(2)]
        for collector in pair:
            collector.wait_for(lambda each=collector: len(each.saved()) >= snapshots)
        codes = [collector.stop() for collector in pair]
        return here.outcome("two collectors of one job in one store", exit_code=max(codes))


def terminated() -> Outcome:
    with world() as here:
        with here.collect(*here.server.job_ids) as collector:
            collector.wait_for_saved(3)
            code = collector.stop()
        recovery_s, _ = _restarted(here)
        return here.outcome("SIGTERM", recovery_s=recovery_s, exit_code=code)


def killed(*, times: int = 3, seed: int = 1) -> Outcome:
    dice = random.Random(seed)
    with world() as here:
        code = 0
        for _ in range(times):
            with here.collect(*here.server.job_ids) as collector:
                collector.wait_for_saved()
                time.sleep(dice.uniform(0, 0.5))
                collector.process.kill()
                code = collector.end()
        recovery_s, _ = _restarted(here)
        return here.outcome(f"SIGKILL, {times} times", recovery_s=recovery_s, exit_code=code)


COMPACTOR = """
import sys
from importstats.store import SnapshotStore
print("begin", flush=True)
while True:
    SnapshotStore(sys.argv[1]).compact(min_segments=2)
"""


def compaction_killed(*, times: int = 4, seed: int = 2) -> Outcome:
    """Compactors that are killed at work, beside a collector that goes on."""
    dice = random.Random(seed)
    with world() as here, here.collect(*here.server.job_ids) as collector:
        collector.wait_for_saved(3)
        for _ in range(times):
            command = [sys.executable, "-c", COMPACTOR, str(here.store_path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as compactor:
                assert compactor.stdout is not None
                compactor.stdout.readline()
                time.sleep(dice.uniform(0, 0.3))
                compactor.send_signal(signal.SIGKILL)
        recovery_s = collector.wait_for_saved(2)
        code = collector.stop()
        here.store.compact(final=True)
        return here.outcome(
            f"compaction killed, {times} times", recovery_s=recovery_s, exit_code=code
        )


#: Short forms, by name.
TRIALS: dict[str, Callable[[], Outcome]] = {
    trial.__name__: trial
    for trial in (
        *(server_restarts, token_refused, job_forgotten, job_id_reused, names_do_not_resolve),
        *(clock_jumps, disk_full, disk_read_only, permission_lost, two_collectors, terminated),
        *(killed, compaction_killed),
    )
}

__all__ = ["COUNTED", "LASTING", "TRIALS", "Outcome", "SkipTrialError", "weather"]
