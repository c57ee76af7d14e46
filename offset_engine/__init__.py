"""Offset's engine: a node for credit powered by trust, the servers it needs, and the programs around them."""
