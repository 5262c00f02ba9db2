"""Batch normalisation with what surrounds it as one operator; dense blocks that keep little for their gradient."""
