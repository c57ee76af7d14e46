"""One module per section of the app and its details."""
