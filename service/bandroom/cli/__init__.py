"""The `bandroom` command."""
