"""Engines that run an exported file, and the file itself: its operations, weights and card."""
