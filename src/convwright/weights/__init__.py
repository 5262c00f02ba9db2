"""Weights: read, written, matched with the layers of a network, and transferred between modules."""

from convwright.weights.foreign import classifier_of, load_matched
from convwright.weights.reading import read_tensors
from convwright.weights.store import load_weights, save_weights, serialized

__all__ = ["classifier_of", "load_matched", "load_weights", "read_tensors", "save_weights", "serialized"]
