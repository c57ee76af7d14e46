"""The practice village in the app: one card, neighbours to trade with, and a tour."""
