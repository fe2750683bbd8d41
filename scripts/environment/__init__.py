"""Sets up the development environment; standard library only, for it runs before anything is installed."""
