"""A simulated Milvus: import jobs on a virtual clock, and an HTTP server that reports on them."""

from importstats.simulator.campaigns import Campaign, make_campaign
from importstats.simulator.cluster import SimulatedCluster
from importstats.simulator.dialects import DIALECTS, Dialect
from importstats.simulator.families import FAMILIES
from importstats.simulator.faults import Faults
from importstats.simulator.releases import RELEASES, Phase, Release, release_of
from importstats.simulator.reported import REPORTED, reported_job
from importstats.simulator.server import SimulatorServer
from importstats.simulator.shapes import SHAPES, make_shape, with_stragglers
from importstats.simulator.simulation import Polling, Simulation, simulate_cluster, simulate_job
from importstats.simulator.specs import Arrival, ClusterSpec, FileSpec, JobSpec, Restart
from importstats.simulator.states import JobState, TaskState, UnknownJobError, WrongPhaseError
from importstats.simulator.truth import GroundTruth

__all__ = [
    "DIALECTS",
    "FAMILIES",
    "RELEASES",
    "REPORTED",
    "SHAPES",
    "Arrival",
    "Campaign",
    "ClusterSpec",
    "Dialect",
    "Faults",
    "FileSpec",
    "GroundTruth",
    "JobSpec",
    "JobState",
    "Phase",
    "Polling",
    "Release",
    "Restart",
    "SimulatedCluster",
    "Simulation",
    "SimulatorServer",
    "TaskState",
    "UnknownJobError",
    "WrongPhaseError",
    "make_campaign",
    "make_shape",
    "release_of",
    "reported_job",
    "simulate_cluster",
    "simulate_job",
    "with_stragglers",
]
