"""``convwright show``: what one network is made of and costs, stage by stage, and its drawing."""

from pathlib import Path

import typer

from convwright.arch import SE, Block, Cost, Network, at
from convwright.arch.cost import StageCost, cost
from convwright.arch.units import human, human_bytes, human_shape, share
from convwright.cli.output import echo, print_json, write
from convwright.cli.places import check_file
from convwright.display.table import emphasised, paragraph, table
from convwright.errors import UsageError
from convwright.printable import printable
from convwright.zoo.reading import provenance, published, read_network

FLOAT32 = 4
_UNTOLD = {"eps", "momentum"}  # the same in every block of a network, and of no interest in a table
_NOTES = (
    "MACs are multiply-adds of one image; the papers call them FLOPs. Activations are the elements that "
    "convolutions and linear layers put out; peak is the most activation memory in use at once, in float32."
)


def show(
    expression: str = typer.Argument(
        metavar="NETWORK", help="A name with operators, e.g. 'resnet50|se:16|scale:d=1.2', or a network.json."
    ),
    resolution: int | None = typer.Option(None, help="Height and width of the images, in pixels."),
    classes: int | None = typer.Option(None, help="Number of classes."),
    channels: int | None = typer.Option(None, help="Number of input channels."),
    layers: bool = typer.Option(False, "--layers", help="Add a row for every layer."),
    as_json: bool = typer.Option(False, "--json", help="Print one object with exact numbers."),
    diagram: str | None = typer.Option(None, metavar="FILE", help="Write a drawing (SVG); '-' prints it instead."),
) -> None:
    """Show a network's stages: blocks, shapes, parameters, MACs, activations and memory."""
    if diagram not in (None, "-"):
        check_file("--diagram", Path(diagram))
    network = at(read_network(expression), resolution=resolution, classes=classes, channels=channels)
    costs = cost(network)
    if diagram == "-":
        if as_json:
            raise UsageError("--json and --diagram - cannot both be printed; give the drawing a file")
        write(_drawn(network))
        return
    if diagram is not None:
        from convwright.files import write_text

        write_text(Path(diagram), _drawn(network))
    if as_json:
        print_json(_object(network, costs, layers), indent=1)
        return
    blocks = [_header(network), _stages(costs), _totals(costs), paragraph(_NOTES)]
    if layers:
        blocks.insert(2, _layers(costs))
    echo("\n\n".join(blocks))
    if diagram is not None:
        echo(f"\ndrawn in {printable(diagram)}")


def _drawn(network: Network) -> str:
    from convwright.arch.diagram import diagram

    return diagram(network)


def _header(network: Network) -> str:
    lines = [emphasised(network.name)]
    lines += [paragraph(str(paper)) for paper in network.papers]
    if network.results:
        lines.append(paragraph(f"Published, in percent: {published(network)}"))
    size = f"{network.channels} × {network.resolution} × {network.resolution}"
    return "\n".join([*lines, f"Images of {size} pixels, {network.classes} classes"])


def _stages(costs: Cost) -> str:
    rows = [
        (
            stage.name,
            human_shape(stage.output),
            human(stage.params),
            human(stage.macs),
            share(stage.macs, costs.macs),
            human(stage.activations),
            human_bytes(stage.peak * FLOAT32),
            contents(stage),
        )
        for stage in costs.stages
    ]
    total = ("total", "", human(costs.params), human(costs.macs), "", human(costs.activations))
    rows.append((*total, human_bytes(costs.peak_bytes()), ""))
    return table(("stage", "output", "params", "MACs", "share", "activations", "peak", "blocks"), rows, left=2)


def _layers(costs: Cost) -> str:
    from convwright.arch.flowchart import label

    rows = [
        (
            layer.path,
            human_shape(layer.output),
            human(layer.params),
            human(layer.macs),
            human_bytes(layer.live * FLOAT32),
            label(layer.layer, layer),
        )
        for layer in costs.layers
    ]
    return table(("layer", "output", "params", "MACs", "memory", "what"), rows, left=2)


def _totals(costs: Cost) -> str:
    return "\n".join(
        (
            f"Weights                 {human_bytes(costs.params * FLOAT32)} in float32",
            f"Peak activation memory  {human_bytes(costs.peak_bytes(FLOAT32))} for one image in float32",
            f"Element-wise, pooling   {human(costs.elementwise)} operations, apart from the MACs",
        )
    )


def contents(stage: StageCost) -> str:
    """Say what a stage holds: ``3 × Bottleneck(width=64)``."""
    _, block, _ = stage.blocks[0]
    return f"{len(stage.blocks)} × {compact(block)}" if len(stage.blocks) > 1 else compact(block)


def compact(block: Block) -> str:
    """Write a block shorter than its repr does: ``MBConv(out=24, stride=2, se=16 post)``."""
    told = [(name, value) for name, value in block.changed_fields() if name not in _UNTOLD]
    return f"{type(block).__name__}({', '.join(f'{name}={_value(value)}' for name, value in told)})"


def _value(value: object) -> str:
    if isinstance(value, SE):
        return f"{value.reduction:g}" + ("" if value.placement == "standard" else f" {value.placement}")
    return str(value)


def _object(network: Network, costs: Cost, layers: bool) -> dict[str, object]:
    facts: dict[str, object] = {
        "name": network.name,
        "resolution": costs.resolution,
        "channels": network.channels,
        "classes": network.classes,
        "params": costs.params,
        "macs": costs.macs,
        "activations": costs.activations,
        "elementwise": costs.elementwise,
        "peak_activation_bytes": costs.peak_bytes(FLOAT32),
        "weight_bytes": costs.params * FLOAT32,
        "stages": [_stage_object(stage) for stage in costs.stages],
        **provenance(network),
        "network": network.to_json(),
    }
    if layers:
        facts["layers"] = [layer._asdict() | {"layer": repr(layer.layer)} for layer in costs.layers]
    return facts


def _stage_object(stage: StageCost) -> dict[str, object]:
    return {
        "name": stage.name,
        "block": repr(stage.blocks[0][1]),
        "blocks": len(stage.blocks),
        "input": stage.input,
        "output": stage.output,
        "params": stage.params,
        "macs": stage.macs,
        "activations": stage.activations,
        "elementwise": stage.elementwise,
        "peak": stage.peak,
    }
