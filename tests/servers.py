"""Simulated servers for tests."""

from importstats.simulator import SimulatorServer, make_shape, simulate_job


def server_of(shape, *, seconds, seed=0, files=None, **options):
    """A server of one job that takes about so many real seconds.

    With `seconds=math.inf` its clock stands, until the test sets `acceleration` or calls `advance`:
    so what the test is about comes before the end of the job on the slowest machine, too.
    """
    cluster, job = make_shape(shape, seed=seed, files=files)
    truth = simulate_job((cluster, job), seed=seed, poll_every_s=600).truth
    options = {"record": True, **options}
    return SimulatorServer(
        cluster, [job], seed=seed, acceleration=truth.duration_s / seconds, **options
    )
