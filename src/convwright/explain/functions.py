"""What `convwright.explain` offers for trained networks: the functions behind the commands of `convwright explain`.

Only light modules are imported at the top; torch is loaded when a function needs it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from convwright.bounds import COUNT, COUNT_OR_NONE
from convwright.options import Bounds, Flags, checks_arguments

if TYPE_CHECKING:
    from convwright.data import Split
    from convwright.data.opened import Data
    from convwright.explain.activation import Target
    from convwright.explain.cam_result import ClassActivation
    from convwright.explain.drop_result import DropResult
    from convwright.explain.excitation_result import Excitations
    from convwright.explain.faithfulness_result import Faithfulness
    from convwright.explain.opened import OpenNetwork
    from convwright.explain.reuse_result import Pruning, Reuse
    from convwright.prediction.base import BasePredictor
    from convwright.prediction.image_files import AnyImages
    from convwright.training.run import Run

Method = Literal["cam", "grad-cam", "grad-cam++"]
Removed = Literal["mean", "black", "blur"]
SplitName = Literal["val", "test"]
Number = Annotated[int, COUNT]


@checks_arguments
def cam(
    networks: "Run | str | Path | BasePredictor | Sequence[Run | str | Path | BasePredictor]",
    images: "str | Path | AnyImages | Split | Data | Sequence[str | Path] | None" = None,
    *,
    data: "Data | str | Path | None" = None,
    count: Number | None = None,
    weights: str | None = None,
    method: Method | None = None,
    layer: str | None = None,
    target: "Annotated[int | str | Target | None, Flags(('--class',))]" = None,
    show: Number = 8,
    batch_size: Number | None = None,
    device: str = "auto",
) -> "ClassActivation":
    """Map the evidence for a class in images: class activation maps, network by network.

    Args:
        networks: Run directories; with weights, networks too.
        images: Files, folders, quoted patterns, or - for standard input; repeatable. From Python also arrays, Pillow
            images, a split, or data.
        data: A folder with classes or a built-in data set to draw test images from, instead of the runs' own data.
        count: Number of images; all that are named, or 8 drawn from data.
        weights: Published weights for networks: pretrained, torchvision, timm, or a file.
        method: cam (Zhou et al. 2016), grad-cam (Selvaraju et al. 2017) or grad-cam++ (Chattopadhay et al. 2018); cam
            where the network's head allows it.
        layer: The module whose feature maps are weighed; the last before global pooling.
        target: Class that the maps are evidence for, by name or (from Python) number; by default the most likely
            class of each image, or of a multi-label network every class that is predicted.
        show: Most images to draw; the maps of all are kept.
        batch_size: Images of a batch; 32.
        device: cpu, cuda or auto.

    Returns:
        The maps, which `save` writes as overlays, arrays and one figure. `figure` draws the networks side by side.

    Raises:
        UsageError: A network, image, layer or class does not exist, or the method does not apply.
        ConvwrightError: No image can be read.

    Example:
        >>> maps = cw.explain.cam("runs/photos", "photos", count=2)
        >>> maps.networks[0].maps.raw.shape
        (2, 8, 8)
    """
    from convwright.explain.cam_computation import compute_cam
    from convwright.explain.opened import open_networks

    opened = open_networks(networks, device, weights)
    return compute_cam(
        opened, images, data, count=count, method=method, layer=layer, target=target, show=show, batch_size=batch_size
    )


@checks_arguments
def faithfulness(
    run: "Run | str | Path | BasePredictor | Sequence[Run | str | Path | BasePredictor] | None",
    maps: "ClassActivation",
    *,
    steps: Number = 32,
    removed: Removed = "mean",
    batch_size: Number | None = None,
) -> "Faithfulness":
    """Score class activation maps by deletion and insertion (Petsiuk et al. 2018), beside random maps.

    The probability of the class is followed while the most relevant pixels are removed from the image, or put into a
    blurred copy of it; the score is the area under that curve.

    Args:
        run: The network or networks whose maps are scored, as given to `cam`; None for all.
        maps: Maps of these networks.
        steps: Number of parts into which the pixels of an image are divided.
        removed: What removed pixels become: mean (colour of the training images), black or blur.
        batch_size: Most changed images of a batch; by default as many as in evaluation.

    Returns:
        Scores by network, and their differences from the first network's, with 95 % intervals.

    Raises:
        ArgumentError: There are no maps of the network, or `maps` is not the result of `cam`.

    Example:
        >>> maps = cw.explain.cam("runs/photos", "photos", count=4)
        >>> gain = cw.explain.faithfulness("runs/photos", maps, steps=8).estimates["photos"]["deletion_gain"]
        >>> gain.interval[0] <= gain.mean <= gain.interval[1]
        True
    """
    from convwright.errors import ArgumentError
    from convwright.explain.cam_computation import compute_faithfulness, select_maps
    from convwright.explain.cam_result import ClassActivation

    if not isinstance(maps, ClassActivation):
        raise ArgumentError("maps", f"must be what cw.explain.cam returned, not {maps!r:.80}")
    selected = maps if run is None else select_maps(maps, run)
    return compute_faithfulness(selected, steps=steps, removed=removed, batch_size=batch_size)


@checks_arguments
def reuse(
    run: "Run | str | Path | BasePredictor | OpenNetwork", *, with_norm: bool = False, device: str = "auto"
) -> "Reuse":
    """Measure feature reuse in dense blocks: how strongly each layer weighs the maps of earlier ones.

    DenseNet's Figure 5.

    Args:
        run: A run directory of a network with dense blocks.
        with_norm: Multiply weights by the scale of the batch normalisation before them.
        device: cpu, cuda or auto.

    Returns:
        A heat map for each dense block; `figure` draws them, `save_csv` writes every connection.

    Raises:
        NetworkError: The network has no dense blocks.
        RunError: There is no run, or it is damaged.

    Example:
        >>> cw.explain.reuse("runs/dense").dense_blocks[0].relative[0][0]
        1.0
    """
    from convwright.explain.opened import open_one
    from convwright.explain.reuse_result import reuse_of

    return reuse_of(open_one(run, device), with_norm=with_norm)


@checks_arguments
def prune(
    run: "Run | str | Path | BasePredictor | OpenNetwork",
    shares: float | Sequence[Annotated[float, Bounds(ge=0, le=1)]],
    *,
    with_norm: bool = False,
    draws: Annotated[int, COUNT_OR_NONE] = 3,
    split: SplitName = "val",
    device: str = "auto",
) -> "Pruning":
    """Cut the weakest dense connections and measure the accuracy without further training.

    Args:
        run: A run directory of a network with dense blocks.
        shares: Shares of the connections to cut, such as 0.1 and 0.2.
        with_norm: Multiply weights by the scale of the batch normalisation before them.
        draws: Random cuts to compare with at each share.
        split: Images to measure accuracy on.
        device: cpu, cuda or auto.

    Returns:
        Accuracy, cost and random cuts at each share, after those of the whole network.

    Raises:
        NetworkError: The network has no dense blocks.
        RunError: There is no run, or it is damaged.

    Example:
        >>> [step.cut for step in cw.explain.prune("runs/dense", [0.1, 0.2], draws=1).steps]
        [0, 8, 17]
    """
    from convwright.explain.opened import open_one
    from convwright.explain.reuse_result import reuse_of

    return reuse_of(open_one(run, device), with_norm=with_norm).prune(shares, draws=draws, split=split)


@checks_arguments
def excitations(
    run: "Run | str | Path | BasePredictor | OpenNetwork",
    *,
    classes: str | Sequence[str] | None = None,
    threshold: Annotated[float, Bounds(gt=0, le=1)] = 0.9,
    split: SplitName = "val",
    device: str = "auto",
) -> "Excitations":
    """Measure the factors of squeeze-and-excitation by class: SENet's Figures 6 and 7.

    Args:
        run: A run directory of a network with squeeze-and-excitation.
        classes: Names of the classes to draw, 7 at most; 4 spread over all.
        threshold: A channel whose mean factor is at least this is saturated.
        split: Images to measure on.
        device: cpu, cuda or auto.

    Returns:
        Means and deviations by gate, class and channel. `figure` draws them by class; `drop` takes the gates out.

    Raises:
        NetworkError: The network has no squeeze-and-excitation.
        UsageError: A class does not exist or has no images.
        RunError: There is no run, or it is damaged.

    Example:
        >>> found = cw.explain.excitations("runs/gated")
        >>> len(found.gates), found.gates[-1].channels
        (3, 64)
    """
    from convwright.explain.excitation_result import excitations_of
    from convwright.explain.opened import open_one

    return excitations_of(open_one(run, device), classes, threshold=threshold, split=split)


@checks_arguments
def drop(
    run: "Run | str | Path | BasePredictor | OpenNetwork",
    *,
    by: Literal["stages", "blocks"] = "stages",
    split: SplitName = "val",
    device: str = "auto",
) -> "DropResult":
    """Take squeeze-and-excitation out step by step, and measure accuracy and cost without further training.

    The mean factors of a gate over training images are folded into the weights around it.

    Args:
        run: A run directory of a network with squeeze-and-excitation.
        by: The last stage first (stages), or the block first whose factors vary least (blocks).
        split: Images to measure accuracy on.
        device: cpu, cuda or auto.

    Returns:
        The steps; `save` writes the network after a step as a run.

    Raises:
        NetworkError: The network has no squeeze-and-excitation that can be taken out.
        RunError: There is no run, or it is damaged.

    Example:
        >>> lean = cw.explain.drop("runs/gated").save("lean", step=1)
        >>> lean.network.name
        'cifar_seresnet8|classes:2|se:none,stages=stage3'
    """
    from convwright.explain.drop_result import drop_of
    from convwright.explain.opened import open_one

    return drop_of(open_one(run, device), by, split)
