"""A Ray cluster that trains a run: whether it has room, and where the processes are placed.

Each process has a bundle of a placement group. The first process writes the run directory, so it runs on this machine
if that is a node of the cluster, and else on a node with which this machine shares the directory.
"""

from typing import Any, Self

from convwright.display.wording import counted
from convwright.errors import ArgumentError
from convwright.extras import require_package
from convwright.ray_connection import LOCAL, RayConnection
from convwright.training.run import Run

PURPOSE = "training on a cluster"
PINNED = 0.001
"""Amount of a node's own resource, by which the first process is bound to the node."""


class TrainingCluster:
    """A connection to a Ray cluster with room for the processes of a run; a context that closes it.

    Args:
        address: What `ray start` printed, `auto`, or `local` for a cluster of this process alone.
        devices: Number of processes. Each takes a GPU if the cluster has some.
        cores: Processor cores of each process.

    Raises:
        ArgumentError: The cluster has too few cores or GPUs, or the address is none.
        UsageError: Ray is not installed.
        ConvwrightError: No cluster answers at the address.
    """

    def __init__(self, address: str, devices: int, cores: int = 1) -> None:
        self.address, self.devices, self.cores = address, devices, cores
        self.connection = RayConnection(address, cores, PURPOSE)
        self.ray = self.connection.ray
        try:
            self._check_room()
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @property
    def has_gpus(self) -> bool:
        """Whether a node of the cluster has a GPU."""
        return any(each["Resources"].get("GPU", 0) >= 1 for each in self._nodes())

    @property
    def room(self) -> int:
        """Number of processes that the cluster can run at once."""
        resources = [each["Resources"] for each in self._nodes()]
        fitting = [int(each.get("CPU", 0)) // self.cores for each in resources]
        if self.has_gpus:
            fitting = [min(count, int(each.get("GPU", 0))) for count, each in zip(fitting, resources, strict=True)]
        return sum(fitting)

    def resume_call(self, run: Run) -> str:
        """Return the call that resumes a run as it was started: with other numbers of cores sums round differently."""
        cores = f", cores_per_task={self.cores}" if self.cores > 1 else ""
        return f"`cw.resume({str(run.path)!r}, cluster={self.address!r}{cores})`"

    def bundles(self) -> list[dict[str, float]]:
        """Return what each process takes of its node, by rank."""
        needed = {"CPU": float(self.cores)} | ({"GPU": 1.0} if self.has_gpus else {})
        bundles = [dict(needed) for _ in range(self.devices)]
        if (own := self._own_resource()) is not None:
            bundles[0][own] = PINNED
        return bundles

    def _own_resource(self) -> str | None:
        """Return the resource that only this machine has as a node; None if it is no node with room for a process."""
        if self.ray.util.client.ray.is_connected():
            return None  # this process is connected to a node, and runs on none
        own = self.ray.get_runtime_context().get_node_id()
        for node in self._nodes():
            room = node["Resources"]
            if node["NodeID"] == own and room.get("CPU", 0) >= self.cores and (not self.has_gpus or room.get("GPU")):
                return f"node:{node['NodeManagerAddress']}"
        return None

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _check_room(self) -> None:
        if self.devices > (room := self.room):
            kind = "GPU" if self.has_gpus else "processor core"
            each = f" with {counted(self.cores, 'core')} each" if self.cores > 1 else ""
            right = (
                "start more nodes" if room == 0 else f"give 1{f' to {room}' if room > 1 else ''}, or start more nodes"
            )
            raise ArgumentError(
                "devices", f"the cluster has a {kind} for {counted(room, 'process', 'processes')}{each}, not "
                f"{self.devices}; {right}",
            )  # fmt: skip


def check_cluster(address: str, devices: int, cores: int) -> None:
    """Check that a cluster has room for the processes of a run; one of this process alone is checked when it starts.

    Args:
        address: What `ray start` printed, `auto`, or `local`.
        devices: Number of processes.
        cores: Processor cores of each process.

    Raises:
        ArgumentError: The cluster has too few cores or GPUs, or the address is none.
        UsageError: Ray is not installed.
        ConvwrightError: No cluster answers at the address.
    """
    if address == LOCAL:
        require_package("ray", PURPOSE)
    else:
        TrainingCluster(address, devices, cores).connection.close()
