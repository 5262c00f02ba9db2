"""Modules of a foreign network whose output squeeze-and-excitation should gate, found by tracing it."""

import operator
from collections import Counter
from collections.abc import Iterable, Iterator

import torch
from torch import fx, nn

from convwright.errors import NetworkError


def places(module: nn.Module) -> list[str]:
    """Return the names of the modules whose output squeeze-and-excitation should gate.

    Raises:
        NetworkError: There are none, or the module cannot be traced.
    """
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # any error of a forward pass that cannot be traced
        raise NetworkError(
            f"{type(module).__name__} cannot be traced ({str(error).splitlines()[0]:.100}); name the modules to gate"
        ) from None
    found = [*_branches(graph), *_combinators(graph), *_additions(graph)]
    if not found:
        raise NetworkError(
            f"{type(module).__name__} has no residual branches and no concatenated ones (that are not gated already); "
            "name the modules to gate"
        )
    order = {str(node.target): index for index, node in enumerate(graph.nodes) if node.op == "call_module"}
    return sorted(dict.fromkeys(found), key=lambda name: order.get(name, len(order)))


class _Tracer(fx.Tracer):
    """Records the module of each operation."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return whether a module contains no others."""
        return next(m.children(), None) is None


def _branches(graph: fx.Graph) -> Iterator[str]:
    """Yield the last module of the longer operand of each sum with a shortcut."""
    calls = _calls(graph)
    for node in graph.nodes:
        if not _is(node, operator.add, operator.iadd, torch.add, "add", "add_"):
            continue
        operands = [operand for operand in node.args[:2] if isinstance(operand, fx.Node)]
        if len(operands) != 2:
            continue
        first, second = map(_ancestors, operands)
        shared = first.keys() & second.keys()
        if not shared:
            continue
        # The shortcut is the operand that is nearer to the point where both paths separate.
        parting = min(shared, key=lambda ancestor: first[ancestor] + second[ancestor])
        body = operands[0] if first[parting] >= second[parting] else operands[1]
        if last := _last(body, {parting}, calls):
            yield last


def _additions(graph: fx.Graph) -> Iterator[str]:
    """Yield the last module of what is computed from all other operands of a concatenation (a dense layer's maps)."""
    calls = _calls(graph)
    for node in graph.nodes:
        operands = set(node.all_input_nodes)
        if not _is(node, torch.cat, torch.concat) or len(operands) < 2:
            continue
        for operand in operands:
            others = operands - {operand}
            if others <= _ancestors(operand).keys() and (last := _last(operand, others, calls)):
                yield last


def _last(node: fx.Node, before: set[fx.Node], calls: Counter[str]) -> str | None:
    """Follow operations on one input back to a module that runs once; None if a branch has none of its own."""
    while node.op != "call_module" or calls[str(node.target)] > 1:
        if node in before or len(node.all_input_nodes) != 1:
            return None
        node = node.all_input_nodes[0]
    return None if node in before else str(node.target)


def _calls(graph: fx.Graph) -> Counter[str]:
    """Return how often each module runs."""
    return Counter(str(node.target) for node in graph.nodes if node.op == "call_module")


def _combinators(graph: fx.Graph) -> Iterator[str]:
    """Yield each module whose output is a concatenation of values that it computes itself."""
    for node in graph.nodes:
        if not _is(node, torch.cat, torch.concat):
            continue
        owner = _owner(node)
        inside = all(_owner(entry).startswith(owner) for entry in node.all_input_nodes)
        left = all(not _owner(user).startswith(f"{owner}.") and _owner(user) != owner for user in node.users)
        if owner and inside and left:
            yield owner


def _is(node: fx.Node, *targets: object) -> bool:
    return node.op in ("call_function", "call_method") and node.target in targets


def _owner(node: fx.Node) -> str:
    """Return the path of the module whose forward pass contains a node; for a module's call, that module's path."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack", {})
    return next((str(path) for path, _ in reversed(stack.values())), "") if stack else ""


def _ancestors(node: fx.Node) -> dict[fx.Node, int]:
    """Return every node that leads to this one, and the smallest number of steps."""
    distance = {node: 0}
    reached: Iterable[fx.Node] = [node]
    while reached:
        following = []
        for each in reached:
            for before in each.all_input_nodes:
                if before not in distance:
                    distance[before] = distance[each] + 1
                    following.append(before)
        reached = following
    return distance
