"""Class activation maps and their scores for several networks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convwright.data.opened import Data
from convwright.display.progress import counting
from convwright.errors import ArgumentError, UsageError
from convwright.evaluation.overlap import Overlap, overlap_of_images
from convwright.explain.activation import BATCH, Target, activation_maps
from convwright.explain.cam_result import ClassActivation, NetworkMaps
from convwright.explain.deletion import score_maps
from convwright.explain.faithfulness_result import Faithfulness
from convwright.explain.images import SHOWN, Source, read_images
from convwright.explain.label_maps import for_each_class
from convwright.explain.opened import AnyNetwork, OpenNetwork
from convwright.explain.variants import counted
from convwright.prediction.base import BasePredictor
from convwright.training.run import Run


def compute_cam(
    networks: Sequence[OpenNetwork],
    images: Source | None = None,
    data: Data | str | Path | None = None,
    *,
    count: int | None = None,
    method: str | None = None,
    layer: str | None = None,
    target: Target = None,
    show: int = SHOWN,
    batch_size: int | None = None,
) -> ClassActivation:
    """Map images with each network; see `convwright.explain.cam`.

    Raises:
        UsageError: A layer or class does not exist, or the method does not apply; the message names the network.
    """
    read = read_images(networks, images, data, count)
    if target is None and any(one.predictor.multi_label for one in networks):
        read, target = for_each_class(networks, read)
    found = []
    with counting() as progress:
        for network, pixels in zip(networks, read.pixels, strict=True):
            add = counted(progress, len(pixels), f"{network.title}: maps")
            try:
                maps = activation_maps(
                    network.predictor,
                    pixels,
                    method=method,
                    layer=layer,
                    target=target,
                    batch_size=batch_size or BATCH,
                    progress=add,
                )
            except UsageError as error:
                raise UsageError(f"{network.title}: {error}") from None
            found.append(NetworkMaps(network, maps))
    return ClassActivation(tuple(found), read, show)


def compute_faithfulness(
    maps: ClassActivation, *, steps: int = 32, removed: str = "mean", batch_size: int | None = None
) -> Faithfulness:
    """Score all maps; see `convwright.explain.faithfulness`."""
    scored = []
    with counting() as progress:
        for one, pixels in zip(maps.networks, maps.images.pixels, strict=True):
            add = counted(progress, len(pixels), f"{one.title}: scores")
            scores = score_maps(
                one.network.predictor,
                pixels,
                one.maps,
                steps=steps,
                removed=removed,
                batch_size=batch_size,
                progress=add,
            )
            scored.append(replace(one, scores=scores))
    overlaps = tuple(
        overlap_of_images(one.network.run, pixels) if one.network.run else Overlap()
        for one, pixels in zip(maps.networks, maps.images.pixels, strict=True)
    )
    return Faithfulness(replace(maps, networks=tuple(scored)), overlaps)


def select_maps(maps: ClassActivation, networks: AnyNetwork | Sequence[AnyNetwork]) -> ClassActivation:
    """Return the maps of some networks only.

    Args:
        maps: Maps of several networks.
        networks: Runs, their directories, titles or predictors.

    Raises:
        ArgumentError: There are no maps of a network.
    """
    several = [networks] if isinstance(networks, str) or not isinstance(networks, Sequence) else list(networks)
    places = [_place(maps, network) for network in several]
    images = replace(maps.images, pixels=tuple(maps.images.pixels[place] for place in places))
    return replace(maps, networks=tuple(maps.networks[place] for place in places), images=images)


def _place(maps: ClassActivation, network: AnyNetwork) -> int:
    for place, one in enumerate(maps.networks):
        opened = one.network
        if network is opened or (isinstance(network, BasePredictor) and _in_torch(network) is opened.predictor):
            return place
        if isinstance(network, str | Path | Run):
            path = network.path if isinstance(network, Run) else Path(network)
            if opened.run is not None and opened.run.path.resolve() == path.resolve():
                return place
            if opened.run is None and str(network) == one.title:
                return place
    name = network.path if isinstance(network, Run) else network
    name = name if isinstance(name, str | Path) else "this network"
    titles = ", ".join(one.title for one in maps.networks)
    raise ArgumentError("run", f"there are no maps of {name}; the maps are of {titles}")


def _in_torch(predictor: BasePredictor) -> object:
    return getattr(predictor, "in_torch", predictor)
