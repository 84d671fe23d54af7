"""``python -m bandroom.cli``: the command without its script."""

from bandroom.cli.main import app

app(prog_name="bandroom")
