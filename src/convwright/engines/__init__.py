"""Engines that run an exported file, and the file itself: its operations, weights and card.

`Engine` is the contract that engines of other packages meet; see `convwright.engines.plugins`.
"""

from convwright.engines.engine import Engine

__all__ = ["Engine"]
