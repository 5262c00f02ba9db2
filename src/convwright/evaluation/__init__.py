"""How accurate a trained network is, in total and by class."""
