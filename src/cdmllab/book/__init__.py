"""The book's own code: exercises, widgets, what its notebooks start with, and how it is built."""
