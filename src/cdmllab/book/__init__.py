"""The book's own code: exercises, widgets, sessions of notebooks, and the build."""
