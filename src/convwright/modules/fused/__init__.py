"""What networks can be trained with on a CPU: batch normalisation with what surrounds it as one operator, convolutions
(3x3, 1x1, depthwise) with operators of their own, dense blocks that keep little for their gradient.
"""
