"""Weights: read, written, and carried between modules."""

from convwright.weights.adopt import adopt, classifier_of, transfer
from convwright.weights.carry import carry
from convwright.weights.reading import read_tensors
from convwright.weights.store import load_weights, save_weights

__all__ = ["adopt", "carry", "classifier_of", "load_weights", "read_tensors", "save_weights", "transfer"]
