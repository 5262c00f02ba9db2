"""Weights: carried from one module to another, and stored as safetensors."""

from convwright.weights.carry import carry
from convwright.weights.store import load_weights, save_weights

__all__ = ["carry", "load_weights", "save_weights"]
