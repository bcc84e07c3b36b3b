"""A simulated cluster's nodes, and how busy each is, as its management port lists them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from importstats.simulator.management_state import Known
from importstats.simulator.nodes import TaskRun
from importstats.simulator.units import GIB


@dataclass(frozen=True)
class NodeList:
    """The nodes that a coordinator knows now."""

    known: Known

    def info(self) -> dict[str, Any]:
        """The answer of ``/_cluster/info``."""
        spec, nodes = self.known.cluster.spec, []
        busy = [
            sum(run.node == number for run in self._at_work())
            for number in range(len(spec.all_speeds))
        ]
        building = self._index_use()
        for number in range(len(spec.all_speeds)):
            node = self.known.node_id(number)
            if self.known.cluster.coordinator.is_up(number):
                used = min(100.0, 100.0 * busy[number] / spec.cores_per_node)
                load = self._neighbours(number)
                used = max(used, 100 * (1 - load), building.get(node, 0.0))
                nodes.append(self._node("datanode", node, used, load))
            building.pop(node, None)
        kind = "datanode" if self.known.cluster.release.sorts_by_compaction else "indexnode"
        nodes += [self._node(kind, node, used, 1.0) for node, used in building.items()]
        nodes.append(self._node("proxy", 1, 3.0, 1.0))
        return {"nodes_info": nodes}

    def _index_use(self) -> dict[int, float]:
        """The use of each index node in percent, by its id."""
        spec, now_s = self.known.cluster.spec, self.known.now_s
        running = [
            work.node
            for work in self.known.cluster.coordinator.works
            if work.started_s <= now_s < work.ended_s
        ]
        return {
            self.known.index_node_id(number): 100.0
            * min(1.0, running.count(number) / spec.index_slots_per_node)
            for number in range(len(spec.index_speeds))
        }

    def _neighbours(self, node: int) -> float:
        """The share of a node that noisy neighbours leave."""
        steps = dict(self.known.cluster.spec.node_load).get(node, ())
        return min([1.0, *[factor for from_s, factor in steps if from_s <= self.known.now_s][-1:]])

    def _at_work(self) -> Iterator[TaskRun]:
        for job in self.known.cluster.live_jobs:
            for runs in (job.runs["preimport"], job.runs["import"]):
                for attempts in runs.values():
                    run = attempts[-1]
                    if not run.gone and run.over_s > self.known.now_s and not job.ended:
                        yield run

    def _node(self, kind: str, node: int, cpu_pct: float, load: float) -> dict[str, Any]:
        spec = self.known.cluster.spec
        return {
            "identifier": node,
            "connected": None,
            "infos": {
                "has_error": False,
                "error_reason": "",
                "name": f"{kind}{node}",
                "hardware_infos": {
                    "ip": f"10.0.{node // 250}.{node % 250}:21124",
                    "cpu_core_count": spec.cores_per_node,
                    "cpu_core_usage": round(cpu_pct, 1),
                    "memory": 32 * GIB,
                    "memory_usage": 4 * GIB,
                    "disk": 500 * GIB,
                    "disk_usage": 40 * GIB,
                    "io_wait_percentage": round(30 * (1 - load), 1),
                },
                "system_info": {
                    "system_version": "0",
                    "deploy_mode": "DISTRIBUTED",
                    "build_version": f"v{spec.release}",
                },
                "created_time": self.known.rfc3339(0.0),
                "type": kind,
                "id": node,
            },
        }
