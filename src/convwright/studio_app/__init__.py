"""The studio: a local web application for networks, data, training and exported files."""
