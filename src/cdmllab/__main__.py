"""`python -m cdmllab`, as torchrun starts it: the command line."""

from cdmllab.cli import app

app()
