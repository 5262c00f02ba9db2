"""Operators in C++ for training on a CPU.

They are batch normalisation together with the operations around it, 3x3, 1x1 and depthwise convolutions, and dense
blocks that keep little for the backward pass.
"""
