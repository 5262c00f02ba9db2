"""Batch normalisation computed together with what surrounds it, and dense blocks that keep little for their gradient."""
