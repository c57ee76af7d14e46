"""The terminal app: screens, keys, process."""
