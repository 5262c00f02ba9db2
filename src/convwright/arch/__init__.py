"""Networks as data, the operators on them, and their cost. Nothing here imports torch.

The functions `cost` (in `convwright.arch.cost`) and `network` (in `convwright.arch.expression`) are not exported here,
because the package has modules of these names; `convwright.cost` and `convwright.network` are the functions.
"""

from convwright.arch.blocks import SE, Block, dense, residual
from convwright.arch.cost import Cost
from convwright.arch.network import Network, Paper, Result, Stage
from convwright.arch.operators import at, compound, fit_resolution, recalibrate, regularise, scale

__all__ = [
    "SE",
    "Block",
    "Cost",
    "Network",
    "Paper",
    "Result",
    "Stage",
    "at",
    "compound",
    "dense",
    "fit_resolution",
    "recalibrate",
    "regularise",
    "residual",
    "scale",
]
