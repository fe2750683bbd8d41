"""The steps of `gdi demo`."""
