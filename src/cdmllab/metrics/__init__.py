"""Measures of verification; numpy only."""
