"""`convwright scale`: compound scaling under a budget."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convwright.arch.units import human, human_bytes
from convwright.cli import family, search, work
from convwright.cli.output import echo, print_json
from convwright.cli.places import check_file
from convwright.display.table import emphasised, paragraph, table
from convwright.errors import UsageError
from convwright.printable import printable
from convwright.scaling.budget import LATENCY, Budget, parse_budget, written
from convwright.scaling.plan import Plan, alternatives, plan_budget, plan_factors
from convwright.scaling.rules import Compound, Factors
from convwright.zoo.reading import read_network

if TYPE_CHECKING:
    from convwright.scaling.latency import Stopwatch

app = typer.Typer(help="Scale a network in depth, width and resolution together.", no_args_is_help=True)


@app.command()
def plan(
    network: Annotated[str, typer.Argument(metavar="BASE", help="The network to scale, e.g. efficientnet_b0.")],
    budget: Annotated[
        str | None, typer.Option(help="Limits: 'macs<=50M, params<=1M, memory<=40MB, latency<=3ms'; any of them.")
    ] = None,
    phi: Annotated[float | None, typer.Option(help="Compound coefficient, instead of a budget.")] = None,
    depth: Annotated[float | None, typer.Option(help="Factor of depth, instead of a budget.")] = None,
    width: Annotated[float | None, typer.Option(help="Factor of width.")] = None,
    resolution: Annotated[float | None, typer.Option(help="Factor of resolution.")] = None,
    alpha: Annotated[float, typer.Option(help="Depth is multiplied by alpha^phi.")] = 1.2,
    beta: Annotated[float, typer.Option(help="Width is multiplied by beta^phi.")] = 1.1,
    gamma: Annotated[float, typer.Option(help="Resolution is multiplied by gamma^phi.")] = 1.15,
    compare: Annotated[
        bool, typer.Option(help="Spend the same budget on each dimension alone and by the other published rule too.")
    ] = True,
    batch: Annotated[int, typer.Option(help="Images at once where latency is measured.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads where latency is measured; torch's own choice.")] = None,
    engine: Annotated[str, typer.Option(help="What runs the network: torch, onnxruntime or openvino.")] = "torch",
    remeasure: Annotated[bool, typer.Option("--remeasure", help="Do not use latencies measured before.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the network as JSON, for --network.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Find the largest network that keeps a budget, without training; say what binds and what rounding did."""
    rule = Compound(alpha, beta, gamma)
    factors = (depth, width, resolution)
    ways = [budget is not None, phi is not None, any(factor is not None for factor in factors)]
    if sum(ways) != 1:
        raise UsageError("give one of --budget, --phi, or factors (--depth, --width, --resolution)")
    if engine != "torch" and (budget is None or parse_budget(budget).latency is None):
        raise UsageError(f"--engine {engine} measures latency, which only a --budget such as 'latency<=3ms' asks for")
    check_file("--out", out)
    base = read_network(network)
    if budget is None:
        chosen = (
            plan_factors(base, rule.at(phi), rule.told, phi)
            if phi is not None
            else plan_factors(base, Factors(*(1.0 if factor is None else factor for factor in factors)))
        )
        plans, limits = [chosen], None
    else:
        limits = parse_budget(budget)
        with _stopwatch(limits, batch, threads, engine, remeasure) as stopwatch:
            chosen = plan_budget(base, limits, rule, stopwatch)
            plans = [chosen, *(alternatives(base, limits, chosen, stopwatch) if compare else ())]
    if out is not None:
        from convwright.files import write_text

        write_text(out, chosen.network.to_json_text() + "\n")
    if as_json:
        print_json(_object(plans, limits), indent=1)
    else:
        echo(_described(plans, limits, out))


app.command()(search.search)
app.command()(family.family)
app.command(hidden=True)(work.work)


class _stopwatch:  # noqa: N801 - used as a function
    """A measure of latency that shows what it measures, where the budget asks for one."""

    def __init__(self, limits: Budget, *options: Any) -> None:
        self.limits, self.options = limits, options

    def __enter__(self) -> "Stopwatch | None":
        if self.limits.latency is None:
            return None
        from convwright.display.progress import errors, status_text
        from convwright.scaling.latency import Stopwatch

        batch, threads, engine, remeasure = self.options
        self.status = errors.status("measuring latency")
        self.status.start()
        tell: Callable[[str], None] = lambda name: self.status.update(status_text(f"measuring {name}"))  # noqa: E731
        return Stopwatch(batch, threads, engine, remember=not remeasure, progress=tell)

    def __exit__(self, *_: object) -> None:
        if self.limits.latency is not None:
            self.status.stop()


def _described(plans: list[Plan], limits: Budget | None, out: Path | None) -> str:
    chosen = plans[0]
    blocks = [f"{emphasised(chosen.network.name)}\n{_growth(chosen)}"]
    if limits is not None:
        blocks.append(_limits(chosen, limits))
    latency = any(plan.seconds is not None for plan in plans)
    titles = ["by", "depth", "width", "resolution", "params", "MACs", "activations", "memory"]
    rows = [_row(plan, latency) for plan in (plans if limits is not None else [_unscaled(chosen), chosen])]
    blocks.append(table([*titles, *(["latency"] if latency else []), ""], rows))
    blocks.append(
        paragraph(
            "Factors are those after rounding, over the base's. Memory is weights and the peak of activations at "
            "inference on one image, in 32-bit floats."
        )
    )
    if out is not None:
        blocks.append(f"network: {printable(out)}")
    return "\n\n".join(blocks)


def _growth(plan: Plan) -> str:
    asked = f"{plan.work:.2f} times the multiply-adds of {plan.base.name}"
    asked += f" ({plan.asked.work:.2f} asked)"
    if plan.phi is not None:
        asked += f", phi = {plan.phi:.3g} (2^phi = {2**plan.phi:.2f})"
    return paragraph(asked) + (f"\n{paragraph(plan.told)}" if plan.told else "")


def _limits(plan: Plan, limits: Budget) -> str:
    rows = []
    for resource, limit in limits.limits.items():
        taken = plan.used(resource) or 0.0
        slack = f"{1 - taken / limit:.1%}"
        rows.append(
            (resource, written(resource, limit), written(resource, taken), slack, "binds" * (resource in plan.binding))
        )
    return table(("resource", "limit", "used", "slack", ""), rows)


def _unscaled(plan: Plan) -> Plan:
    return Plan(plan.base, plan.base, "base", Factors(1, 1, 1))


def _row(plan: Plan, latency: bool) -> tuple[str, ...]:
    cost, actual = plan.cost, plan.actual
    return (
        plan.rule,
        f"{actual.depth:.2f}",
        f"{actual.width:.2f}",
        f"{plan.network.resolution} px",
        human(cost.params),
        human(cost.macs),
        human(cost.activations),
        human_bytes(cost.memory_bytes()),
        *([written(LATENCY, plan.seconds) if plan.seconds is not None else "-"] if latency else []),
        f"{', '.join(plan.binding)} binds" if plan.binding else "",
    )


def _object(plans: list[Plan], limits: Budget | None) -> dict[str, Any]:
    chosen = plans[0]
    return {
        "base": chosen.base.name,
        "budget": limits.limits if limits else None,
        "chosen": _facts(chosen),
        "alternatives": [_facts(plan) for plan in plans[1:]],
    }


def _facts(plan: Plan) -> dict[str, Any]:
    cost = plan.cost
    return {
        "network": plan.network.name,
        "rule": plan.rule,
        "phi": plan.phi,
        "asked": plan.asked._asdict() | {"macs": plan.asked.work},
        "actual": plan.actual._asdict() | {"macs": plan.work},
        "resolution": plan.network.resolution,
        "params": cost.params,
        "macs": cost.macs,
        "activations": cost.activations,
        "memory_bytes": cost.memory_bytes(),
        "latency_seconds": plan.seconds,
        "binding": list(plan.binding),
        "rounding": plan.told or None,
    }
