"""Offset's terminal app."""
