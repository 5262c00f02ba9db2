"""Curation: near-duplicates, outliers and label errors of a data set, and a corrected list to train on."""
