"""The pieces screens are made of; they know what to draw, nothing of nodes."""
