"""Sets up the development environment of this tree; standard library only, because it runs before anything is installed."""
