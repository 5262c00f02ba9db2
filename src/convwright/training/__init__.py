"""Training, evaluation and prediction, and the run directory between them."""
