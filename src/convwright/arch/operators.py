"""Operators: functions from network to network.

An operator returns its argument if nothing changes. Otherwise it returns a new network, with the operation appended to
the name. It never returns a network that cannot be built.
"""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import cast

from convwright.arch.blocks import Block
from convwright.arch.cost import cost
from convwright.arch.layers import Add
from convwright.arch.network import Network, Stage
from convwright.arch.node import brief, check_size
from convwright.arch.resolution import Resolution, check_resolution, format_resolution, sides
from convwright.arch.rounding import round_depth, round_resolution
from convwright.errors import NetworkError

LARGEST_FACTOR = 100.0
"""Largest factor of depth, width and resolution; a larger one is a mistake."""
LARGEST_PHI = 100.0
"""Largest compound coefficient, up or down; the papers go to 8."""


def scale(network: Network, depth: float = 1, width: float = 1, resolution: float = 1) -> Network:
    """Scale depth, width and resolution, rounded as EfficientNet does (section 4; `arch.rounding`).

    Args:
        network: Network, expression, file of a network, run directory or run.
        depth: Factor of the repetitions of every stage of repeatable blocks.
        width: Factor of every number of channels and growth rate, stem and head included.
        resolution: Factor of the native height and width of images.

    Returns:
        A new network; the same one if every factor is 1.

    Raises:
        NetworkError: A factor is not above 0 and at most `LARGEST_FACTOR`, or the network cannot be built.

    Example:
        >>> cw.scale("resnet18", depth=2, width=1.5).name
        'resnet18|scale:d=2,w=1.5'
    """
    check_factors(depth, width, resolution)
    factors = {"d": depth, "w": width, "r": resolution}
    written = ",".join(f"{key}={number(factor)}" for key, factor in factors.items() if factor != 1)
    return _scaled(network, depth, width, resolution, f"scale:{written}")


def compound(network: Network, phi: float, alpha: float = 1.2, beta: float = 1.1, gamma: float = 1.15) -> Network:
    """Scale by alpha^phi in depth, beta^phi in width and gamma^phi in resolution (EfficientNet, equation 3).

    The defaults are those that the paper found for EfficientNet-B0: alpha * beta^2 * gamma^2 is about 2, so that MACs
    double with each step of phi.

    Args:
        network: Network, expression, file of a network, run directory or run.
        phi: Compound coefficient; negative values make the network smaller.
        alpha: Base of the factor of depth.
        beta: Base of the factor of width.
        gamma: Base of the factor of resolution.

    Returns:
        A new network.

    Raises:
        NetworkError: A coefficient is out of range, or the network cannot be built.

    Example:
        >>> cw.compound("efficientnet_b0", 1).resolution
        258
    """
    factors = compound_factors(phi, alpha, beta, gamma)
    written = [f"phi:{number(phi)}"]
    for name, value, default in (("alpha", alpha, 1.2), ("beta", beta, 1.1), ("gamma", gamma, 1.15)):
        if value != default:
            written.append(f"{name}={number(value)}")
    check_factors(*factors)
    return _scaled(network, *factors, ",".join(written))


def compound_factors(phi: float, alpha: float, beta: float, gamma: float) -> tuple[float, float, float]:
    """Return alpha^phi, beta^phi and gamma^phi.

    Raises:
        NetworkError: `phi` is beyond `LARGEST_PHI`, or another number is not from 1 to `LARGEST_FACTOR`.
    """
    if not _is_between(phi, -LARGEST_PHI, LARGEST_PHI):
        raise NetworkError(f"phi must be a number from {-LARGEST_PHI:g} to {LARGEST_PHI:g}, not {brief(phi)}")
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not _is_between(value, 1, LARGEST_FACTOR):
            raise NetworkError(f"{name} must be a number from 1 to {LARGEST_FACTOR:g}, not {brief(value)}")
    return float(alpha) ** phi, float(beta) ** phi, float(gamma) ** phi


def check_factors(depth: float, width: float, resolution: float) -> None:
    """Check the factors of scaling; NetworkError if one is not above 0 and at most `LARGEST_FACTOR`."""
    for name, factor in (("depth", depth), ("width", width), ("resolution", resolution)):
        if not (_is_between(factor, 0, LARGEST_FACTOR) and factor > 0):
            raise NetworkError(f"a {name} factor must be above 0 and at most {LARGEST_FACTOR:g}, not {brief(factor)}")


def _is_between(value: object, lowest: float, highest: float) -> bool:
    """Whether a value is a number in a range; text and NaN are not."""
    return isinstance(value, Real) and lowest <= cast(float, value) <= highest


def fit_resolution(network: Network, resolution: Resolution, least: int = 4) -> Network:
    """Fit a network to images of another size: remove its earliest strides until the last feature map is large enough.

    Strides are removed from the stem on, since early strides lose the most detail of small images.

    Args:
        network: Network, expression, file of a network, run directory or run.
        resolution: Side of the square images in pixels, or (height, width).
        least: Smallest height and width of the last feature map; smaller only if no stride is left to remove.

    Returns:
        A new network with this native resolution.

    Raises:
        NetworkError: The network cannot read images of this size.

    Example:
        >>> cw.fit_resolution("resnet18", 32).resolution
        32
    """
    check_resolution("fit: the resolution", resolution)
    check_size("fit: least, the size of the last map,", least)
    fitted = replace(network, resolution=resolution)
    while (smaller := _last_map(fitted)) is None or smaller < min(least, *sides(resolution)):
        relaxed = _without_first_stride(fitted)
        if relaxed is None:
            break
        fitted = relaxed
    written = f"fit:{format_resolution(resolution)}" + (f",least={least}" if least != 4 else "")
    return check_built(
        network.changed(written, stem=fitted.stem, stages=fitted.stages, head=fitted.head, resolution=resolution)
    )


def at(
    network: Network,
    *,
    resolution: Resolution | None = None,
    channels: int | None = None,
    classes: int | None = None,
) -> Network:
    """Set the native resolution, the number of input channels or the number of classes.

    Args:
        network: Network, expression, file of a network, run directory or run.
        resolution: Native side of square images in pixels, or (height, width).
        channels: Number of input channels.
        classes: Number of classes.

    Returns:
        A new network; the same one if nothing changes.

    Raises:
        NetworkError: A number is below 1, or the network cannot read images of this size.

    Example:
        >>> cw.at("resnet18", classes=10).classes
        10
    """
    if resolution is not None:
        check_resolution(f"{network.name}: resolution", resolution)
        network = network.changed(f"resolution:{format_resolution(resolution)}", resolution=resolution)
    for name, value in (("channels", channels), ("classes", classes)):
        if value is not None:
            check_size(f"{network.name}: {name}", value)
            network = network.changed(f"{name}:{value}", **{name: value})
    return check_built(network)


def truncate(network: Network, last: int | str) -> Network:
    """Keep the stages up to one of them; the head is put behind it and takes the channels that this stage has.

    Args:
        network: Network, expression, file of a network, run directory or run.
        last: Name or number of the last stage that is kept (1 is the first stage of repeatable blocks).

    Returns:
        A new network; the same one if this is its last stage.

    Raises:
        NetworkError: There is no such stage.

    Example:
        >>> cw.truncate("efficientnet_lite0", 5).name
        'efficientnet_lite0|stages:1-5'
    """
    if isinstance(last, bool) or not isinstance(last, int | str):
        raise NetworkError(f"the last stage is a number or a name, not {brief(last)}")
    (name,) = chosen_stages(network, [last])
    kept = network.stages[: [stage.name for stage in network.stages].index(name) + 1]
    return check_built(network.changed(f"stages:1-{last}", stages=kept))


def regularise(network: Network, *, dropout: float | None = None, stochastic_depth: float | None = None) -> Network:
    """Set the rates of dropout before the classifier, and of stochastic depth (`Network.stochastic_depth`).

    Args:
        network: Network, expression, file of a network, run directory or run.
        dropout: Rate of dropout, 0 to below 1.
        stochastic_depth: Rate at which the last residual branch is skipped in training, 0 to below 1.

    Raises:
        NetworkError: The head has no place for dropout, or no block has a shortcut.
    """
    for name, value in (("dropout", dropout), ("stochastic_depth", stochastic_depth)):
        if value is not None and not (_is_between(value, 0, 1) and value < 1):
            raise NetworkError(f"{network.name}: {name} must be a rate from 0 to under 1, not {brief(value)}")
    if dropout is not None:
        if "dropout" not in network.head.__dataclass_fields__:
            raise NetworkError(f"{network.name}: its head, {type(network.head).__name__}, has no place for dropout")
        head = replace(network.head, dropout=dropout)
        network = network.changed(f"dropout:{number(dropout)}", head=head)
    if stochastic_depth is not None:
        if stochastic_depth and not has_shortcuts(network):
            raise NetworkError(f"{network.name}: no block has a residual sum, so stochastic depth has none to skip")
        written = f"stochastic_depth:{number(stochastic_depth)}"
        network = network.changed(written, stochastic_depth=stochastic_depth)
    return check_built(network)


def has_shortcuts(network: Network) -> bool:
    """Return whether any block adds a shortcut to its body, so that the body can be skipped."""
    return any(isinstance(row.layer, Add) for row in cost(network).layers)


def chosen_stages(network: Network, stages: Sequence[int | str] | None) -> list[str]:
    """Return the names of stages that are given by number (from 1, over stages of repeatable blocks) or by name."""
    every = [stage.name for stage in network.stages]
    if stages is None:
        return every
    counted = [stage.name for stage in network.stages if stage.block.repeatable]
    chosen = []
    for stage in stages:
        if isinstance(stage, int):
            if not 1 <= stage <= len(counted):
                raise NetworkError(f"{network.name} has stages 1 to {len(counted)}, not {brief(stage)}")
            chosen.append(counted[stage - 1])
        elif stage in every:
            chosen.append(stage)
        else:
            raise NetworkError(f"{network.name} has no stage {brief(stage)}; it has {', '.join(every)}")
    return [name for name in every if name in chosen]


def number(value: float) -> str:
    """Return the shortest text that reads back as the same number: 1.2, 3."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _scaled(network: Network, depth: float, width: float, resolution: float, written: str) -> Network:
    stages = tuple(
        replace(
            stage,
            block=stage.block.widened(width),
            repeats=round_depth(stage.repeats, depth) if stage.block.repeatable else stage.repeats,
        )
        for stage in network.stages
    )
    return check_built(
        network.changed(
            written,
            stem=network.stem.widened(width),
            stages=stages,
            head=network.head.widened(width),
            resolution=round_resolution(network.resolution, resolution),
        )
    )


def _without_first_stride(network: Network) -> Network | None:
    if stem := network.stem.without_first_stride():
        return replace(network, stem=stem)
    for index, stage in enumerate(network.stages):
        if block := stage.block.without_first_stride():
            stages = (*network.stages[:index], _restaged(stage, block), *network.stages[index + 1 :])
            return replace(network, stages=stages)
    return None


def _restaged(stage: Stage, block: Block) -> Stage:
    return replace(stage, block=block)


def _last_map(network: Network) -> int | None:
    """Return the height or width of the map that enters the head; None if the images are too small for the network."""
    try:
        return min(cost(network).stages[-1].input[1:])
    except NetworkError:
        return None


def check_built(network: Network) -> Network:
    """Return a network; NetworkError if it cannot be built."""
    cost(network)
    return network
