"""Questions and answers over a screen."""
