"""Networks as data, the operators on them, and their cost. Nothing here imports torch.

The operators exported here take an expression such as ``resnet50|se:16`` wherever they take a network.

The functions `cost` (in `convwright.arch.cost`) and `network` (in `convwright.arch.expression`) are not exported here,
because the package has modules of these names; `convwright.cost` and `convwright.network` are the functions.
"""

from convwright.arch import operators, recalibration
from convwright.arch.blocks import SE, Block, Placement, dense, residual
from convwright.arch.cost import Cost
from convwright.arch.expression import accepts_expressions
from convwright.arch.layers import (
    Act,
    Add,
    Concat,
    Conv,
    Dropout,
    Gate,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Norm,
    PadChannels,
    Pool,
    Scale,
    Seq,
)
from convwright.arch.network import Network, Paper, Result, Stage

at = accepts_expressions(operators.at)
compound = accepts_expressions(operators.compound)
fit_resolution = accepts_expressions(operators.fit_resolution)
recalibrate = accepts_expressions(recalibration.recalibrate)
truncate = accepts_expressions(operators.truncate)
regularise = accepts_expressions(operators.regularise)
scale = accepts_expressions(operators.scale)

__all__ = [
    "SE",
    "Act",
    "Add",
    "Block",
    "Concat",
    "Conv",
    "Cost",
    "Dropout",
    "Gate",
    "GlobalPool",
    "Identity",
    "Layer",
    "Linear",
    "Network",
    "Norm",
    "PadChannels",
    "Paper",
    "Placement",
    "Pool",
    "Result",
    "Scale",
    "Seq",
    "Stage",
    "at",
    "compound",
    "dense",
    "fit_resolution",
    "recalibrate",
    "regularise",
    "residual",
    "scale",
    "truncate",
]
