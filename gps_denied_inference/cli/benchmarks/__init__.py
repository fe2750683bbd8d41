"""Benchmarks of `gdi bench`: one part a file, each beside its limit and beside what a user would write without us."""
