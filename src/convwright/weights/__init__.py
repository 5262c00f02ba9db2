"""Weights: read, written, and transferred between modules.

`match_weights` and `carry` are functions in the modules of the same names.
"""

from convwright.weights.foreign import classifier_of, transfer
from convwright.weights.reading import read_tensors
from convwright.weights.store import load_weights, save_weights, serialized

__all__ = ["classifier_of", "load_weights", "read_tensors", "save_weights", "serialized", "transfer"]
