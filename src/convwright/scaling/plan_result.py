"""The result of `plan`: a network scaled to a budget, beside what the same budget gives otherwise."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from convwright.arch import Cost, Network
from convwright.arch.expression import chooses_resolution
from convwright.arch.resolution import format_resolution
from convwright.display.result import Block, Heading, Lines, Paragraph, Result, Table
from convwright.files import write_text
from convwright.printable import printable
from convwright.scaling.budget import LATENCY, Budget, format_amount
from convwright.scaling.plan import ScaledNetwork
from convwright.scaling.rules import Factors
from convwright.units import human, human_bytes

NOTE = (
    "Factors are those after rounding, over the base's. Memory is weights and peak activations at inference on one "
    "image, in 32-bit floats."
)

LIMITS_NOTE = (
    "A limit binds if the next larger network exceeds it. Rounding makes networks grow in steps, so a part of a "
    "binding limit can be left."
)
UNRELIABLE = "unreliable"


@dataclass(frozen=True)
class ScalingPlan(Result):
    """A base network scaled to a budget, to a compound coefficient or by factors."""

    chosen: ScaledNetwork
    budget: Budget | None = None
    """The limits; None where the network was scaled by factors."""
    alternatives: tuple[ScaledNetwork, ...] = ()
    """The same budget spent on one dimension alone, and by the other published rule."""
    unreliable: tuple[str, ...] = ()
    """Networks whose latency was measured while the machine was busy."""
    path: Path | None = None
    """File that holds the network; None if it was not written."""

    @property
    def base(self) -> Network:
        """The network that was scaled."""
        return self.chosen.base

    @property
    def network(self) -> Network:
        """The scaled network."""
        return self.chosen.network

    @cached_property
    def cost(self) -> Cost:
        """Cost of the scaled network."""
        return self.chosen.cost

    @property
    def binding(self) -> tuple[str, ...]:
        """Resources whose limit the next larger network exceeds."""
        return self.chosen.binding

    def save(self, path: str | Path) -> None:
        """Write the network as JSON, for `network` of other functions and `--network` of commands.

        Its name sets the resolution, so that `cw.train` trains at the planned one.

        Args:
            path: The file; it is replaced if it exists.
        """
        network = self.network
        if not chooses_resolution(network.name):
            network = replace(network, name=f"{network.name}|resolution:{format_resolution(network.resolution)}")
        write_text(Path(path), network.to_json_text() + "\n")

    def to_dict(self) -> dict[str, object]:
        """Return base, budget, the chosen network and the alternatives."""
        return {
            "base": self.base.name,
            "budget": self.budget.limits if self.budget else None,
            "chosen": self.chosen.to_dict(),
            "latency_reliable": not self.unreliable,
            "alternatives": [each.to_dict() for each in self.alternatives],
        }

    def blocks(self) -> Iterable[Block]:
        """Yield the growth, the limits, and a table of the network and its alternatives."""
        yield Heading(self.network.name)
        yield Paragraph(_growth(self.chosen))
        if self.chosen.deviation:
            yield Paragraph(self.chosen.deviation)
        if self.budget is not None:
            yield _limits(self.chosen, self.budget, bool(self.unreliable))
            yield Paragraph(LIMITS_NOTE)
        if self.unreliable:
            yield Paragraph(
                f"The machine was busy while the latency of {len(self.unreliable)} networks was measured, so no "
                "statement on latency is reliable; plan again on an idle machine."
            )
        unscaled = ScaledNetwork(self.base, self.base, "base", Factors(1, 1, 1))
        listed = (self.chosen, *self.alternatives) if self.budget is not None else (unscaled, self.chosen)
        latency = any(each.seconds is not None for each in listed)
        titles = ["by", "depth", "width", "px", "params", "MACs", "activations", "memory"]
        rows = [_row(each, latency, bool(self.unreliable)) for each in listed]
        yield Table([*titles, *(["latency"] if latency else []), ""], rows)
        yield Paragraph(NOTE)
        if self.path is not None:
            yield Lines(f"network: {printable(self.path)}")


def _growth(scaled: ScaledNetwork) -> str:
    text = f"{scaled.work:.2f} times the multiply-adds of {scaled.base.name} ({scaled.requested.work:.2f} requested)"
    if scaled.phi is not None:
        text += f", phi = {scaled.phi:.3g} (2^phi = {2**scaled.phi:.2f})"
    return text


def _limits(scaled: ScaledNetwork, budget: Budget, unreliable: bool) -> Table:
    rows = []
    for resource, limit in budget.limits.items():
        amount = scaled.used(resource) or 0.0
        larger = format_amount(resource, scaled.larger[resource]) if resource in scaled.larger else "-"
        amounts = (format_amount(resource, limit), format_amount(resource, amount), f"{1 - amount / limit:.1%}")
        binds = "binds" if resource in scaled.binding else ""
        rows.append((resource, *amounts, larger, UNRELIABLE if unreliable and resource == LATENCY else binds))
    return Table(("resource", "limit", "used", "slack", "next larger", ""), rows)


def _binding(scaled: ScaledNetwork, unreliable: bool) -> str:
    names = [name for name in scaled.binding if not (unreliable and name == LATENCY)]
    return f"{', '.join(names)} binds" if names else f"{LATENCY} {UNRELIABLE}" if scaled.binding else ""


def _row(scaled: ScaledNetwork, latency: bool, unreliable: bool) -> tuple[str, ...]:
    cost, actual = scaled.cost, scaled.actual
    seconds = format_amount(LATENCY, scaled.seconds) if scaled.seconds is not None else "-"
    return (
        scaled.rule,
        f"{actual.depth:.2f}",
        f"{actual.width:.2f}",
        format_resolution(scaled.network.resolution),
        human(cost.params),
        human(cost.macs),
        human(cost.activations),
        human_bytes(cost.memory_bytes()),
        *([seconds] if latency else []),
        _binding(scaled, unreliable),
    )
