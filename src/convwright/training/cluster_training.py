"""Training a run on a Ray cluster: processes are started, watched, and started again where one is lost.

They find each other as torchrun's do: at an address and port of the first one's node. Nodes that do not share the run
directory get a copy.
"""

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convwright.display.progress import print_progress
from convwright.display.wording import counted
from convwright.errors import ConvwrightError, UsageError
from convwright.files import packed
from convwright.printable import printable
from convwright.ray_connection import first_line, last_line
from convwright.training.cluster import TrainingCluster
from convwright.training.cluster_process import ClusterProcess, NodeFacts, ProcessState
from convwright.training.failed_runs import is_held
from convwright.training.failures import OTHER_ENDED
from convwright.training.interrupt import STOPPING, Interrupted, StopSignal
from convwright.training.launch import GRACE, PATIENCE
from convwright.training.process_output import ProcessOutput
from convwright.training.run import Run
from convwright.version import __version__

RESTARTS = 3
"""Times that the processes are started again from the same checkpoint."""
NODE_SECONDS = 60.0
"""Time that a lost node has to come back, or another one to take its place, before the run ends."""
SILENT_SECONDS = 30.0
"""Time without free cores after which a line reports that the cluster is waited for."""
POLL_SECONDS = 0.25
"""Time between two questions how far the processes have come."""
PORT_TAKEN = "address already in use"
"""What the first process reports where another program has taken its port since that was found free."""
LOST = -9
"""Status of a process whose actor or node no longer answers."""


class _ProcessLostError(Exception):
    """A process ended that did nothing wrong: it was killed, or its node was."""


@dataclass(frozen=True)
class _Members:
    """The actors of the processes, by rank, and what is known of their nodes."""

    actors: Sequence[Any]
    facts: Sequence[NodeFacts]


def train_on_cluster(cluster: TrainingCluster, run: Run, arguments: Sequence[str], *, progress: bool = True) -> None:
    """Train a run to its end, from its last checkpoint again where a process is lost.

    Args:
        cluster: A cluster with room for the processes.
        run: The run.
        arguments: Arguments of `convwright train --resume` that do not change the result.
        progress: Whether to show what the first process prints.

    Raises:
        Interrupted: A signal stopped the run; it can be resumed.
        ConvwrightError: The run failed, a node cannot read it or its images, or processes were lost again and
            again.
    """
    try:
        _train(cluster, run, arguments, progress=progress)
    except (cluster.ray.exceptions.RayError, ConnectionError) as error:
        raise ConvwrightError(
            f"{run.path}: the cluster at {cluster.address} no longer answers ({first_line(error)}); resume with "
            f"{cluster.resume_call(run)}"
        ) from None


def _train(cluster: TrainingCluster, run: Run, arguments: Sequence[str], *, progress: bool) -> None:
    restarts, checkpoint = 0, run.newest_checkpoint
    with StopSignal() as stop:
        while True:
            try:
                _Attempt(cluster, run, arguments, stop, progress=progress).train()
                return
            except _ProcessLostError as lost:
                if run.finished:
                    return
                reached = run.newest_checkpoint
                restarts = 1 + (restarts if reached == checkpoint else 0)
                checkpoint = reached
                again = cluster.resume_call(run)
                if restarts > RESTARTS:
                    raise ConvwrightError(
                        f"{run.path}: {lost}; {RESTARTS} restarts have not come further; resume with {again}"
                    ) from None
                if progress:
                    place = checkpoint.name if checkpoint else "the first step"
                    print_progress(f"{lost}; all processes start again from {place}")
                _wait_until_released(run)


class _Attempt:
    """The processes of a run from their start to the end of the run, or of the first process that fails."""

    def __init__(
        self, cluster: TrainingCluster, run: Run, arguments: Sequence[str], stop: StopSignal, *, progress: bool
    ) -> None:
        self.cluster, self.ray, self.run, self.arguments, self.stop = cluster, cluster.ray, run, arguments, stop
        self.printed = [ProcessOutput(shown=progress and rank == 0) for rank in range(cluster.devices)]
        self.progress = progress

    def train(self) -> None:
        """Start the processes and wait for their end.

        Raises:
            _ProcessLostError: One was killed, or its node was.
            Interrupted: A signal stopped them.
            ConvwrightError: One failed, or a node cannot read the run or its images.
        """
        with self._placed() as actors:
            members = _Members(actors, self._checked_facts(actors))
            self._start(members)
            statuses = self._statuses(actors)
            self._check_ends(statuses, members.facts)

    @contextmanager
    def _placed(self) -> Iterator[list[Any]]:
        """Yield an actor for each process, in a placement group; end their processes, and both, when the block ends."""
        from ray.util.placement_group import placement_group, remove_placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        cluster = self.cluster
        group = placement_group(cluster.bundles(), strategy="PACK")
        actors: list[Any] = []
        try:
            self._wait_for(group)
            made = self.ray.remote(num_cpus=cluster.cores, num_gpus=int(cluster.has_gpus))(ClusterProcess)
            for rank in range(cluster.devices):
                place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
                actors.append(made.options(scheduling_strategy=place).remote())
            yield actors
        finally:
            ends = []
            for actor in actors:
                with suppress(Exception):  # nodes that no longer answer have no processes to end
                    ends.append(actor.end.remote())
            with suppress(Exception):
                self.ray.wait(ends, num_returns=len(ends), timeout=PATIENCE)
            for actor in actors:
                with suppress(Exception):
                    self.ray.kill(actor)
            with suppress(Exception):  # where the cluster itself no longer answers
                remove_placement_group(group)

    def _wait_for(self, group: Any) -> None:
        """Wait until the cluster has free cores for all processes.

        Raises:
            ConvwrightError: So many nodes were lost that it will have none.
        """
        started = shown = time.monotonic()
        while not group.wait(1):
            self._check_stop()
            now = time.monotonic()
            if now - started > NODE_SECONDS and (room := self.cluster.room) < self.cluster.devices:
                raise ConvwrightError(
                    f"{self.run.path}: the cluster has room for {counted(room, 'process', 'processes')} instead of "
                    f"{self.cluster.devices} since a node was lost; resume once it has more"
                )
            if self.progress and now - shown > SILENT_SECONDS:
                print_progress(f"no free cores in the cluster for {now - started:.0f} s; it may be busy")
                shown = now

    def _checked_facts(self, actors: Sequence[Any]) -> list[NodeFacts]:
        """Return what is known of the processes' nodes.

        Raises:
            ConvwrightError: A node has another version, or cannot read the run or its images.
        """
        data = self.run.config.data
        needed = data if Path(data).is_absolute() and Path(data).exists() else None
        (self.run.path / "checkpoints").mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.run.path / "checkpoints", prefix=".", suffix=".partial") as mark:
            facts: list[NodeFacts] = self._get([actor.facts.remote(mark.name, needed) for actor in actors])
        for each in facts:
            if each.version != __version__:
                raise ConvwrightError(
                    f"{each.name} of the cluster has Convwright {each.version}, not {__version__}; install the same "
                    "version"
                )
            if not each.reads_data:
                raise ConvwrightError(
                    f"{printable(data)}: {each.name} of the cluster cannot read it; put the images into a folder that "
                    "all nodes have under the same path"
                )
        if not facts[0].writes_run:
            raise ConvwrightError(
                f"{printable(self.run.path)}: {facts[0].name} of the cluster cannot write it; run the command on a "
                "node of the cluster, or give an `out` that this machine shares with the nodes"
            )
        return facts

    def _start(self, members: _Members) -> None:
        first = members.facts[0]
        copied = None
        if not all(each.reads_run for each in members.facts):
            copied = self.ray.put(packed(self.run.path))
        started = []
        for rank, (actor, facts) in enumerate(zip(members.actors, members.facts, strict=True)):
            environment = {
                "WORLD_SIZE": str(self.cluster.devices),
                "RANK": str(rank),
                # Each process is a node of its own to Lightning Fabric: Ray shows it no other GPU than its own.
                "NODE_RANK": str(rank),
                "LOCAL_RANK": "0",
                "LOCAL_WORLD_SIZE": "1",
                "MASTER_ADDR": first.address,
                "MASTER_PORT": str(first.port),
                "OMP_NUM_THREADS": str(self.cluster.cores),
            }
            files = None if facts.reads_run else copied
            where = str(self.run.path.absolute()), self.arguments, environment, str(Path.cwd()), files
            started.append(actor.start.remote(*where))
        self._get(started)

    def _get(self, references: Sequence[Any]) -> list[Any]:
        """Return the results of actors.

        Raises:
            _ProcessLostError: An actor does not answer.
            Interrupted: A signal came.
        """
        while len(self.ray.wait(references, num_returns=len(references), timeout=1)[0]) < len(references):
            self._check_stop()
        try:
            found: list[Any] = self.ray.get(references)
        except self.ray.exceptions.RayError as error:
            raise _ProcessLostError(f"a process of the cluster could not be started: {last_line(error)}") from None
        return found

    def _check_stop(self) -> None:
        if self.stop.requested:
            raise Interrupted(self._stopped(), self.stop.requested)

    def _stopped(self, saved: str = "") -> str:
        return f"interrupted; {saved}resume with {self.cluster.resume_call(self.run)}"

    def _statuses(self, actors: Sequence[Any]) -> list[int | None]:
        """Wait until all processes have ended, or one has failed; return their statuses, None for those that run."""
        questions = [actor.state.remote() for actor in actors]
        statuses: list[int | None] = [None] * len(actors)
        deadline, sent = math.inf, False
        while None in statuses and time.monotonic() < deadline:
            if self.stop.requested and not sent:
                sent = True
                for actor in actors:
                    actor.send.remote(self.stop.requested)
            for rank, actor in enumerate(actors):
                if statuses[rank] is None and self.ray.wait([questions[rank]], timeout=0)[0]:
                    statuses[rank] = self._status(rank, questions[rank])
                    questions[rank] = actor.state.remote()
            deadline = min(deadline, time.monotonic() + self._patience(statuses))
            time.sleep(POLL_SECONDS)
        return statuses

    def _patience(self, statuses: Sequence[int | None]) -> float:
        """Return for how many seconds processes that still run are waited for."""
        if any(statuses):
            return (PATIENCE if statuses[0] is not None else 4 * PATIENCE) if self.stop.requested else GRACE
        return PATIENCE if statuses[0] is not None else math.inf  # the first one writes the results, and ends last

    def _status(self, rank: int, question: Any) -> int | None:
        """Return the status of a process from an actor's answer, and show what it has printed."""
        try:
            state: ProcessState = self.ray.get(question)
        except self.ray.exceptions.RayError as error:
            self.printed[rank].lost = first_line(error)
            return LOST
        self.printed[rank].add(state.printed)
        return state.status

    def _check_ends(self, statuses: Sequence[int | None], facts: Sequence[NodeFacts]) -> None:
        """Raise the error of the process that failed, if one has."""
        if self.stop.requested and any(statuses):
            saved = "a checkpoint was saved; " if statuses[0] == 128 + self.stop.requested else ""
            raise Interrupted(self._stopped(saved), self.stop.requested)
        failed = [rank for rank, status in enumerate(statuses) if status]
        if not failed:
            self.printed[0].show_kept()
            return
        reasons = {rank: self.printed[rank].reason(statuses[rank] or 0) for rank in failed}
        own = [rank for rank in failed if OTHER_ENDED not in reasons[rank]]
        lost = [rank for rank in own if _is_lost(statuses[rank] or 0) or PORT_TAKEN in reasons[rank].lower()]
        if lost or not own:
            rank = (lost or failed)[0]
            reason = reasons[rank].partition("; resume with ")[0]  # all processes start again without that
            raise _ProcessLostError(f"the process of device {rank} on {printable(facts[rank].name)} ended: {reason}")
        rank = own[0]
        kind = UsageError if statuses[rank] == UsageError.exit_status else ConvwrightError
        if rank == 0:
            raise kind(reasons[0])
        raise kind(
            f"{self.run.path}: the process of device {rank} on {printable(facts[rank].name)} ended: {reasons[rank]}"
        )


def _is_lost(status: int) -> bool:
    """Return whether a process was killed, or stopped by a signal that was not sent from here."""
    return status < 0 or status - 128 in STOPPING


def _wait_until_released(run: Run) -> None:
    """Wait until the first process of an earlier start, whose actor was killed, has ended."""
    deadline = time.monotonic() + PATIENCE
    while is_held(run.path) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
