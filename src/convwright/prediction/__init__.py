"""Predictors: of runs, of networks with pretrained weights, and of exported files."""
