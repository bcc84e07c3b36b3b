"""A simulated Milvus: import jobs on a virtual clock, and a real HTTP server that tells of them."""

from importstats.simulator.cluster import (
    JobState,
    SimulatedCluster,
    TaskState,
    TaskStates,
    UnknownJobError,
    WrongPhaseError,
)
from importstats.simulator.faults import Fault, Faults
from importstats.simulator.server import Received, Sent, SimulatorServer
from importstats.simulator.shapes import (
    FAMILIES,
    SHAPES,
    Family,
    make_shape,
    with_stragglers,
)
from importstats.simulator.simulation import (
    Poll,
    Simulation,
    simulate_cluster,
    simulate_job,
)
from importstats.simulator.specs import (
    RELEASES,
    Arrival,
    ClusterSpec,
    FileSpec,
    JobSpec,
    Phase,
    Release,
    Restart,
)
from importstats.simulator.truth import GroundTruth
from importstats.simulator.wire import DIALECTS, Dialect

__all__ = [
    "DIALECTS",
    "FAMILIES",
    "RELEASES",
    "SHAPES",
    "Arrival",
    "ClusterSpec",
    "Dialect",
    "Family",
    "Fault",
    "Faults",
    "FileSpec",
    "GroundTruth",
    "JobSpec",
    "JobState",
    "Phase",
    "Poll",
    "Received",
    "Release",
    "Restart",
    "Sent",
    "SimulatedCluster",
    "Simulation",
    "SimulatorServer",
    "TaskState",
    "TaskStates",
    "UnknownJobError",
    "WrongPhaseError",
    "make_shape",
    "simulate_cluster",
    "simulate_job",
    "with_stragglers",
]
