"""Data sets and pair lists."""
