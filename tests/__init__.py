"""Tests of Offset, in layers: unit, property, sim, shell, net, tui, e2e, bench."""
