"""Write docs/commands.md: the help of every command. Run with ``make docs``."""

from __future__ import annotations

from pathlib import Path

import click

from neurodeploy.cli import main


def commands_page() -> str:
    """The page as Markdown."""
    parts = ["# Commands\n\nWritten by `make docs` from the commands' own help.\n"]
    parts += _sections(main, "neurodeploy", None)
    return "\n".join(parts)


def _sections(command: click.Command, path: str, parent: click.Context | None) -> list[str]:
    # A width of its own, so that the page does not depend on a terminal.
    context = click.Context(
        command,
        info_name=path.split()[-1],
        parent=parent,
        terminal_width=96,
        help_option_names=["-h", "--help"],
    )
    text = f"## {path}\n\n```text\n{command.get_help(context)}\n```\n"
    if not isinstance(command, click.Group):
        return [text]
    found = [text]
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        if child is not None:
            found += _sections(child, f"{path} {name}", context)
    return found


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(commands_page())
