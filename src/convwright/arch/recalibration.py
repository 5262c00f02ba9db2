"""The operator that puts squeeze-and-excitation into the blocks of a network, or removes it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from convwright.arch.blocks import SE
from convwright.arch.cost import cost
from convwright.arch.layers import Gate
from convwright.arch.network import Network, Stage
from convwright.arch.operators import check_built, chosen_stages, number
from convwright.errors import NetworkError


def recalibrate(
    network: Network,
    reduction: float | None = 16,
    *,
    placement: str | None = None,
    stages: Sequence[int | str] | None = None,
    blocks: Sequence[str] | None = None,
    least: int | None = None,
    act: str | None = None,
    gate: str | None = None,
    of: str | None = None,
) -> Network:
    """Put squeeze-and-excitation into blocks, replacing any that they have, or remove it.

    A block without a shortcut has no squeeze-and-excitation in the identity placement.

    Args:
        network: Network, expression, file of a network, run directory or run.
        reduction: Reduction ratio; None takes squeeze-and-excitation out.
        placement: Field of `SE`, as are `least`, `act`, `gate` and `of`.
        stages: Names or numbers of stages (1 is the first stage of repeatable blocks); all by default.
        blocks: Paths of single blocks instead, as `Network.blocks` has them (`stage2.block3`). A stage whose blocks
            then differ is split.
        least: Smallest squeezed width.
        act: Activation function of the squeezed width.
        gate: Activation function of the gate.
        of: Channels that the ratio divides, `gated` or `input`.

    Returns:
        A new network.

    Raises:
        NetworkError: A chosen stage or block has no place for squeeze-and-excitation, or an option is wrong.
    """
    fields = {"placement": placement, "least": least, "act": act, "gate": gate, "of": of}
    given = {name: value for name, value in fields.items() if value is not None}
    if reduction is None and given:
        raise NetworkError(f"without squeeze-and-excitation there is no {next(iter(given))} to choose")
    se = None if reduction is None else SE(reduction, **given)  # type: ignore[arg-type]
    if blocks is not None:
        return _recalibrated_blocks(network, se, blocks, stages)
    chosen = chosen_stages(network, stages)
    able = [stage.name for stage in network.stages if stage.block.gateable]
    if not able:
        raise NetworkError(f"{network.name}: no block has a place for squeeze-and-excitation")
    if stages is not None and (unable := [name for name in chosen if name not in able]):
        raise NetworkError(
            f"{network.name}: stage {unable[0]} has no place for squeeze-and-excitation; {', '.join(able)} have"
        )
    changed = tuple(
        replace(stage, block=stage.block.recalibrated(se)) if stage.name in chosen and stage.block.gateable else stage
        for stage in network.stages
    )
    if se is not None and se.placement == "identity" and not _gated(replace(network, stages=changed), chosen):
        among = ", ".join(name for name in chosen if name in able)
        raise NetworkError(f"{network.name}: no block of {among} has a shortcut that the identity placement could gate")
    written = _written(se) + ("" if stages is None else ",stages=" + "+".join(chosen))
    return check_built(network.changed(written, stages=changed))


def _recalibrated_blocks(
    network: Network, se: SE | None, blocks: Sequence[str], stages: Sequence[int | str] | None
) -> Network:
    if stages is not None:
        raise NetworkError("squeeze-and-excitation is chosen by stages or by blocks, not by both")
    known = {path: block for _, path, block in network.blocks()}
    for path in blocks:
        if path not in known:
            raise NetworkError(f"{network.name} has no block {path!r}; its blocks are named as stage2 or stage2.block3")
        if not known[path].gateable:
            raise NetworkError(f"{network.name}: {path} has no place for squeeze-and-excitation")
    changed: list[Stage] = []
    for stage in network.stages:
        paths = [path for name, path, _ in network.blocks() if name == stage.name]
        changed += _split(stage, se, [path in blocks for path in paths])
    written = f"{_written(se)},blocks={'+'.join(path for path in known if path in blocks)}"
    return check_built(network.changed(written, stages=tuple(changed)))


def _split(stage: Stage, se: SE | None, chosen: list[bool]) -> list[Stage]:
    """Recalibrate some blocks of a stage: one stage for each run of blocks that are treated alike.

    Stages after the first are named by their first block: `stage2_3` starts with the third block of `stage2`.
    """
    if not any(chosen):
        return [stage]
    parts, first = [], 0
    for changed, run in groupby(chosen):
        block, repeats = stage.blocks[first], len(list(run))
        name = f"{stage.name}_{first + 1}" if first else stage.name
        parts.append(Stage(name, block.recalibrated(se) if changed else block, repeats))
        first += repeats
    return parts


def _written(se: SE | None) -> str:
    """Return the operator as an expression has it: `se:16,placement=pre`."""
    if se is None:
        return "se:none"
    fields = [f"{field}={value}" for field, value in se.changed_fields() if field != "reduction"]
    return ",".join([f"se:{number(se.reduction)}", *fields])


def _gated(network: Network, stages: Sequence[str]) -> bool:
    """Whether any block of these stages has squeeze-and-excitation."""
    blocks = (block for part in cost(network).stages if part.name in stages for _, _, block in part.blocks)
    return any(isinstance(row.layer, Gate) for block in blocks for row in block.layers)
