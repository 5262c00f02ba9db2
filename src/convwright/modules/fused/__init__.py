"""What networks can be trained with on a CPU: batch normalisation with what surrounds it as one operator, 3x3
convolutions by Winograd's method, dense blocks that keep little for their gradient.
"""
