"""Measures of verification and identification, in numpy only."""
