"""Options of how a network is computed that cannot be combined."""

from collections.abc import Iterator

from convwright.training.config import Recipe, RunOptions
from convwright.training.field_errors import FieldError


def execution_problems(options: RunOptions, recipe: Recipe) -> Iterator[FieldError]:
    """Yield what is wrong with the fields that say how the network is computed.

    Args:
        options: A request, or the configuration made from it.
        recipe: The recipe; a request is its own.
    """
    if options.fused and options.precision == "16-mixed":
        yield FieldError(
            "precision", "cannot be 16-mixed with `fused`, whose operators compute in 32 bits or bfloat16; omit one"
        )
    if options.cuda_graphs and not options.compile:
        yield FieldError("cuda_graphs", "needs `compile`, which records the graphs")
    if not options.compile:
        return
    if options.fused:
        yield FieldError("compile", "cannot be combined with `fused`, whose operators are compiled already; omit one")
    if options.memory_efficient:
        yield FieldError("compile", "cannot be combined with `memory_efficient`, whose operators are no torch graph")
    if recipe.freeze:
        yield FieldError("compile", "compiles the network, of which `freeze` trains only the classifier; omit one")
    if recipe.progressive:
        yield FieldError(
            "compile",
            "compiles again for each size of growing images; add `progressive=0` (the recipe `fast` has 0.6)",
        )
    if options.cuda_graphs and options.devices > 1:
        yield FieldError("cuda_graphs", "are for one device; omit them with `devices`")
    if options.cuda_graphs and recipe.accumulate > 1:
        yield FieldError("cuda_graphs", "cannot be combined with `accumulate`, whose gradients they would overwrite")
