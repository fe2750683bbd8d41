"""Command-line floor: the program `gdi`."""
