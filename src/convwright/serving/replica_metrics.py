"""Counters of all replicas of a service, which each of them can show: they exchange their counters every second."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from convwright.serving.metrics import Metrics

EXCHANGE_SECONDS = 1.0
"""Time between two exchanges."""
FORGOTTEN_SECONDS = 30.0
"""Time after which a replica that was not heard of has ended."""
LABEL = "replica"
Counters = Mapping[str, Sequence[Metric]]
"""Counters of each replica, by its name."""


class MetricsBoard:
    """Keeps the counters that replicas have last put on it; an actor of the cluster."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, Sequence[Metric]]] = {}

    def exchange(self, replica: str, counters: Sequence[Metric]) -> Counters:
        """Keep the counters of a replica; return those of all replicas that have not ended."""
        now = time.monotonic()
        self.found[replica] = now, counters
        self.found = {name: kept for name, kept in self.found.items() if now - kept[0] < FORGOTTEN_SECONDS}
        return {name: kept for name, (_, kept) in self.found.items()}


class ReplicaMetrics(Metrics):
    """Counters of one replica, shown with those of the others.

    Args:
        exchange: Gives the replica's counters away and returns those of all; see `MetricsBoard.exchange`.
        name: Name of the replica; empty: host name and process.
    """

    def __init__(self, exchange: Callable[[str, Sequence[Metric]], Counters], name: str = "") -> None:
        super().__init__()
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self.exchange, self.others = exchange, dict[str, Sequence[Metric]]()
        threading.Thread(target=self._keep_exchanging, daemon=True, name="metrics").start()

    def exchange_once(self) -> None:
        """Give the counters away, and keep those of the others."""
        found = self.exchange(self.name, list(self.registry.collect()))
        self.others = {name: counters for name, counters in found.items() if name != self.name}

    def text(self) -> bytes:
        """Return the counters of all replicas, each with the replica's name as the label `replica`."""
        return generate_latest(_Joined({self.name: list(self.registry.collect()), **self.others}))

    def _keep_exchanging(self) -> None:
        while True:
            with suppress(Exception):  # while the cluster does not answer, the last counters stay
                self.exchange_once()
            time.sleep(EXCHANGE_SECONDS)


class _Joined(Collector):
    """Counters of several replicas as one collection."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters

    def collect(self) -> Iterable[Metric]:
        """Return the counters, labelled."""
        joined: dict[str, Metric] = {}
        for replica, families in sorted(self.counters.items()):
            for family in families:
                metric = joined.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                metric.samples += [one._replace(labels={**one.labels, LABEL: replica}) for one in family.samples]
        return joined.values()
