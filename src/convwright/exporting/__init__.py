"""Shipping a trained network: exported files that hold all they need, engines that run them, and what each costs.

Importing this package loads neither torch nor an engine; a prediction from an exported file needs no torch at all.
"""
