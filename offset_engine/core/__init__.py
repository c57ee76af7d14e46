"""The pure core: values in, values out; no clock, no randomness, no IO, no logging, no tasks."""
