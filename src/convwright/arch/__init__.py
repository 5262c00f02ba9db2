"""The language: networks as data, operators on them, and what they cost. Nothing here imports torch."""

from convwright.arch.blocks import SE, Block, dense, residual
from convwright.arch.cost import Cost, cost
from convwright.arch.expression import network
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
    "cost",
    "dense",
    "fit_resolution",
    "network",
    "recalibrate",
    "regularise",
    "residual",
    "scale",
]
