"""Statistics: confidence intervals, means over seeds, and paired comparisons."""
