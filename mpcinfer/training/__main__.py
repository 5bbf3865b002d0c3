"""`python -m mpcinfer.training OUT ...` is `mpcinfer train OUT ...`."""

import sys

import typer

from mpcinfer.cli.train import train
from parties.errors import MpcInferError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(train)

if __name__ == "__main__":
    try:
        app()
    except MpcInferError as error:
        sys.exit(f"error: {error}")
