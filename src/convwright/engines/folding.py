"""Programs simplified by algebra: the same function, up to rounding, with fewer and smaller operations.

Each rule is an identity that holds for every input:

* a normalisation is one factor and one shift a channel, so it merges into the convolution or linear layer before it,
  or into the one after it where nothing non-linear and no padding stands between;
* a 1x1 convolution and a mean over windows are both linear and mix no positions or no channels, so they commute: in
  DenseNet's transitions the convolution then reads a quarter of the positions;
* for the same reason squeeze-and-excitation's mean can be taken before the 1x1 convolution whose output it gates, over
  fewer channels, and that convolution merges into the squeeze.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from convwright.engines.program import Activate, Affine, Clamp, Connect, Convolve, Mean, Op, Program, Value, Window


def folded(program: Program) -> Program:
    """Return the program after every rule that helps all engines, as often as they apply."""
    return _repeated(program, _RULES)


def clamped(program: Program) -> Program:
    """Return a folded program with bounds for each normalisation and ReLU that stand before a 1x1 convolution.

    One pass over the maps instead of three, for engines that run operations one by one.
    """
    return _repeated(program, (_clamped,))


def _repeated(program: Program, rules: "Rules") -> Program:
    for _ in range(len(program.ops)):
        after = _once(program, rules)
        if len(after.ops) == len(program.ops) and all(a is b for a, b in zip(after.ops, program.ops, strict=True)):
            return after
        program = after
    return program


class _Walk:
    """One walk over a program, and the lookup tables that the rules use."""

    def __init__(self, program: Program) -> None:
        self.shapes = dict(program.shapes)
        self.readers, self.makers = program.readers(), program.makers()
        self.reader_of = {value: op for op in program.ops for value in op.inputs}
        self.used: set[Value] = set()
        """Results of operations that this walk has replaced already: `makers` and `readers` are outdated for them."""

    def sole_reader(self, op: Op) -> Op | None:
        """Return the operation that reads the result of `op`, if there is exactly one; else None."""
        return self.reader_of.get(op.output) if self.readers[op.output] == 1 else None


def _once(program: Program, rules: "Rules") -> Program:
    """Apply each rule wherever it fits; no operation takes part twice."""
    walk = _Walk(program)
    replaced: dict[int, list[Op]] = {}
    for op in program.ops:
        for rule in rules:
            if (found := rule(walk, op)) is None:
                continue
            taken, made = found
            if walk.used.isdisjoint(part.output for part in taken):
                walk.used |= {part.output for part in taken}
                replaced |= {part.output: [] for part in taken}
                replaced[taken[-1].output] = made
                break
    ops = [after for op in program.ops for after in replaced.get(op.output, [op])]
    return _without_unused_operations(replace(program, ops=tuple(ops), shapes=walk.shapes))


def _without_unused_operations(program: Program) -> Program:
    """Drop operations whose results no other operation reads."""
    wanted, ops = {program.output}, []
    for op in reversed(program.ops):
        if op.output in wanted:
            wanted.update(op.inputs)
            ops.append(op)
    return replace(program, ops=tuple(reversed(ops)))


Rewrite = tuple[list[Op], list[Op]]
"""Operations that are replaced, and the operations that replace the last one."""


def _fold_into_previous(walk: _Walk, op: Op) -> Rewrite | None:
    """Fold an affine into the convolution, linear layer or affine before it, if nothing else reads that one."""
    after = walk.sole_reader(op)
    if not isinstance(after, Affine):
        return None
    factor, shift = after.factor, after.shift
    if isinstance(op, Affine):
        return [op, after], [
            replace(op, output=after.output, factor=op.factor * factor, shift=op.shift * factor + shift)
        ]
    if isinstance(op, Convolve | Connect):
        weight = op.weight * factor.reshape(-1, *[1] * (op.weight.ndim - 1))
        return [op, after], [replace(op, output=after.output, weight=weight, bias=op.bias * factor + shift)]
    return None


def _fold_into_next(walk: _Walk, op: Op) -> Rewrite | None:
    """Fold an affine into the convolution or linear layer after it, if that is its only reader.

    The convolution must be without padding, if the affine shifts.
    """
    after = walk.sole_reader(op)
    if not isinstance(op, Affine):
        return None
    if isinstance(after, Connect):
        _, height, width = walk.shapes[op.output]
        factor, shift = (np.repeat(values, height * width) for values in (op.factor, op.shift))
        weight, bias = after.weight * factor, after.bias + after.weight @ shift
    elif isinstance(after, Convolve) and not (any(after.pads) and op.shift.any()):
        # Each group reads its own run of channels.
        factor, shift = (
            np.repeat(values.reshape(after.groups, -1), len(after.bias) // after.groups, axis=0)
            for values in (op.factor, op.shift)
        )
        weight = after.weight * factor[:, :, None, None]
        bias = after.bias + np.einsum("oihw,oi->o", after.weight, shift)
    else:
        return None
    return [op, after], [replace(after, inputs=op.inputs, weight=weight, bias=bias)]


def _pool_before_convolution(walk: _Walk, op: Op) -> Rewrite | None:
    """1x1 convolution whose output is only averaged over windows: average its input instead."""
    after = walk.sole_reader(op)
    if not (isinstance(after, Window) and _is_pointwise(op)):
        return None
    if after.function != "avg" or after.counted or after.stride < 2:
        return None
    channels = walk.shapes[op.inputs[0]][0]
    between = _new(walk, (channels, *walk.shapes[after.output][1:]))
    return [op, after], [
        replace(after, inputs=op.inputs, output=between),
        replace(op, inputs=(between,), output=after.output),
    ]


def _squeeze_before_convolution(walk: _Walk, op: Op) -> Rewrite | None:
    """Mean of a 1x1 convolution's output that another reads: the mean of its fewer inputs, and a merged squeeze."""
    before = walk.makers.get(op.inputs[0])
    squeeze = walk.sole_reader(op)
    if not (isinstance(op, Mean) and before is not None and _is_pointwise(before) and _is_pointwise(squeeze)):
        return None
    assert isinstance(before, Convolve)
    assert isinstance(squeeze, Convolve)
    out, channels = before.weight.shape[:2]
    if channels >= out or before.output in walk.used:  # its input may be gone after this walk; the next one matches
        return None
    first, second = squeeze.weight[:, :, 0, 0], before.weight[:, :, 0, 0]
    weight, bias = first @ second, first @ before.bias + squeeze.bias
    between = _new(walk, (channels, 1, 1))
    return [op, squeeze], [
        replace(op, inputs=before.inputs, output=between),
        replace(squeeze, inputs=(between,), weight=weight[:, :, None, None], bias=bias),
    ]


def _clamped(walk: _Walk, op: Op) -> Rewrite | None:
    """Affine and ReLU before a 1x1 convolution: two bounds a channel, the rest in the convolution.

    relu(a x + b) is a (max(x, t) - t) with t = -b / a where a is positive, and a (min(x, t) - t) where it is
    negative; the convolution takes the factor into its weights and the constant into its bias.
    """
    act = walk.sole_reader(op)
    after = walk.sole_reader(act) if isinstance(act, Activate) and act.function == "relu" else None
    if act is None or not (isinstance(op, Affine) and _is_pointwise(after)):
        return None
    assert isinstance(after, Convolve)
    factor, constant = op.factor.copy(), np.zeros_like(op.shift)
    still = np.abs(factor) <= 1e-12 * np.maximum(1, np.abs(op.shift))  # the result hardly depends on the input
    factor[still], constant[still] = 0, np.maximum(op.shift[still], 0)
    bound = np.divide(-op.shift, factor, out=np.zeros_like(factor), where=~still)
    low = np.where(factor > 0, bound, np.where(still, 0, -np.inf))
    high = np.where(factor < 0, bound, np.where(still, 0, np.inf))
    weight = after.weight * factor[:, None, None]
    bias = after.bias + after.weight[:, :, 0, 0] @ (constant - factor * bound)
    return [op, act, after], [
        Clamp(op.path, op.inputs, op.output, low, high),
        replace(after, inputs=(op.output,), weight=weight, bias=bias),
    ]


def _is_pointwise(op: Op | None) -> bool:
    """Return whether an operation is a 1x1 convolution over all channels, without stride and padding."""
    if not isinstance(op, Convolve) or op.groups > 1 or any(op.pads):
        return False
    return op.weight.shape[2:] == (1, 1) and op.stride == (1, 1)


def _new(walk: _Walk, shape: tuple[int, int, int]) -> Value:
    value = max(walk.shapes) + 1
    walk.shapes[value] = shape
    return value


Rules = tuple[Callable[[_Walk, Op], Rewrite | None], ...]
_RULES: Rules = (
    _fold_into_previous,
    _fold_into_next,
    _pool_before_convolution,
    _squeeze_before_convolution,
)
