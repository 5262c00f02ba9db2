"""Dense connections cut: accuracy and cost of a network without its weakest connections.

A connection is cut by setting the weights with which a layer reads a source's maps to zero. The result is exactly that
of a network whose layer does not read these maps. The savings are those of that network: the layer's weights, and scale
and shift of the batch normalisation through which only this layer reads the maps. A layer whose maps are no longer read
is still counted.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from convwright.arch.cost import cost
from convwright.arch.network import Network
from convwright.brief import Brief
from convwright.errors import UsageError
from convwright.explain.feature_reuse import Connection, FeatureReuse, weight_by_source
from convwright.explain.variants import Accuracy, Change


@dataclass(frozen=True)
class Saving:
    """Parameters and multiply-adds saved."""

    params: int
    macs: int


@dataclass(frozen=True)
class RandomCut:
    """The same number of connections, chosen at random."""

    seed: int
    saving: Saving
    accuracy: float


@dataclass(frozen=True)
class PruningStep(Brief):
    """A network with a share of its dense connections cut, the weakest first."""

    share: float
    """Requested share of all connections."""
    cut: int
    """Number of connections cut."""
    connections: tuple[Connection, ...]
    """The connections cut."""
    params: int
    macs: int
    saving: Saving
    accuracy: float
    """0 to 1; of a multi-label network, mean average precision."""
    interval: tuple[float, float]
    random: tuple[RandomCut, ...]
    change: Change | None = None
    """Change of accuracy from the whole network; None for the whole network itself."""

    def repr_fields(self) -> dict[str, object]:
        """Return what `repr` shows."""
        return {"share": self.share, "cut": self.cut, "params": self.params, "accuracy": self.accuracy}


def prune_steps(
    network: Network,
    module: nn.Module,
    found: FeatureReuse,
    shares: Sequence[float],
    measure: Callable[[nn.Module], Accuracy],
    *,
    draws: int = 3,
) -> Iterator[PruningStep]:
    """Measure the whole network; then cut each share of the connections, the weakest first, and measure again.

    Each number of connections is also cut at random; the order of a random draw is the same at every share.

    Args:
        network: The network.
        module: The built network, which is restored after each measurement.
        found: Its dense connections.
        shares: Shares of the connections to cut, 0 to 1.
        measure: Function from a module to its accuracy.
        draws: Random cuts at each share.

    Yields:
        The whole network, and a step for each share above 0.

    Raises:
        UsageError: A share is not from 0 to 1.
    """
    if wrong := [share for share in shares if not 0 <= share <= 1]:
        raise UsageError(f"a share of the connections is from 0 to 1, not {wrong[0]:g}")
    if draws < 0:
        raise UsageError(f"the number of random draws must be 0 or more, not {draws}")
    whole, ranked = cost(network), found.weakest()
    first: Accuracy | None = None
    for share in (0.0, *filter(None, shares)):
        cut = round(share * len(ranked))
        chosen = ranked[:cut]
        with cutting(module, chosen):
            measured = measure(module)
        change = None if first is None else measured.change_from(first)
        first = first or measured
        random = tuple(_at_random(network, module, ranked, cut, seed, measure) for seed in range(draws if cut else 0))
        saving = saved(network, chosen)
        params, macs = whole.params - saving.params, whole.macs - saving.macs
        yield PruningStep(share, cut, chosen, params, macs, saving, measured.share, measured.interval, random, change)


@contextmanager
def cutting(module: nn.Module, connections: Sequence[Connection]) -> Iterator[None]:
    """Set the weights of connections to zero, and restore them in the end."""
    views = [_weight(module, each) for each in connections]
    kept = [view.clone() for view in views]
    try:
        for view in views:
            view.zero_()
        yield
    finally:
        for view, before in zip(views, kept, strict=True):
            view.copy_(before)


def saved(network: Network, connections: Sequence[Connection]) -> Saving:
    """Return the parameters and multiply-adds that a network saves without these connections."""
    rows = {row.path: row for row in cost(network).layers}
    params = macs = 0
    for each in connections:
        row = rows[each.reader.path]
        # A reader has the same number of weights for each map, and the bias stays.
        weights = row.macs // (row.output[1] * row.output[2]) * each.maps // sum(each.reader.maps)
        params += weights + (2 * each.maps if each.reader.norm else 0)
        macs += weights * row.output[1] * row.output[2]
    return Saving(params, macs)


def _at_random(
    network: Network,
    module: nn.Module,
    connections: Sequence[Connection],
    cut: int,
    seed: int,
    measure: Callable[[nn.Module], Accuracy],
) -> RandomCut:
    order = torch.randperm(len(connections), generator=torch.Generator().manual_seed(seed))
    chosen = [connections[index] for index in order[:cut].tolist()]
    with cutting(module, chosen):
        return RandomCut(seed, saved(network, chosen), measure(module).share)


def _weight(module: nn.Module, connection: Connection) -> torch.Tensor:
    layer = module.get_submodule(connection.reader.path)
    return weight_by_source(layer, connection.reader)[connection.source]
