"""`python -m cdmllab`, as torchrun wants it: the command line."""

from cdmllab.cli import app

app()
