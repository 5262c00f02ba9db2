"""The former place of `convwright.units`."""

from convwright.units import human, human_bytes, human_shape, share

__all__ = ["human", "human_bytes", "human_shape", "share"]
