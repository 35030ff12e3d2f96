"""The command that lays two results side by side: ``compare``."""

from __future__ import annotations

from pathlib import Path

import click

from neurodeploy.cli.options import PATH
from neurodeploy.cli.output import json_option, print_json, wrote


@click.command()
@click.argument("first", metavar="A", type=PATH)
@click.argument("second", metavar="B", type=PATH)
@click.option("--page", type=PATH, metavar="FILE.html", help="Write the comparison as a page, too.")
@json_option
def compare(first: Path, second: Path, page: Path | None, as_json: bool) -> None:
    """Compare two training runs, or two deployments.

    Shows accuracy, spikes, energy and cores, layer by layer, and the settings that differ.
    Deployments are compared by their newest simulations on an engine that both were simulated on.
    """
    from neurodeploy.reporting.comparison import comparison_text
    from neurodeploy.workflow.comparison import compare_folders, write_comparison_page

    found = compare_folders(first, second)
    if page is not None:
        write_comparison_page(found, page)
    if as_json:
        print_json({**found.as_dict(), "page": page and str(page)})
        return
    click.echo(comparison_text(found))
    if page is not None:
        click.echo(wrote(page))
