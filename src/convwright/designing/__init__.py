"""Design: from labelled images and a budget to a trained, exported and documented network."""
