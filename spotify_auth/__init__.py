"""The tokens: stored encrypted, refreshed in the background, read by requests."""
