"""CDML Lab: margin losses for face recognition, from the formula to the measured system."""

__version__ = "0.1.0"
