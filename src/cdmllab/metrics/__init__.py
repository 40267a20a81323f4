"""Measures of verification and identification; numpy only."""
