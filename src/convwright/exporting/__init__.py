"""Exporting a trained network as a verified file that holds all that a prediction needs."""
