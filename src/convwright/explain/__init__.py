"""What the papers draw, on the user's own runs, and what follows from it."""
