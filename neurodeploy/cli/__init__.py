"""The command line: parse, call one library function, print. One file for each kind of command.

Imports stay inside the commands, so that ``--help`` does not wait for torch or Lava.
"""

from __future__ import annotations

import click

from neurodeploy.cli.bench import bench
from neurodeploy.cli.commands import Commands
from neurodeploy.cli.compare import compare
from neurodeploy.cli.convert import convert
from neurodeploy.cli.deployed import learn, simulate, validate
from neurodeploy.cli.export import export
from neurodeploy.cli.inventory import deployments, runs
from neurodeploy.cli.listing import doctor, inspect, models, new, targets
from neurodeploy.cli.sweep import sweep
from neurodeploy.cli.train import train


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="neurodeploy")
def main() -> None:
    """Train spiking networks, deploy them to Loihi-style targets, and know that they match.

    Without arguments each command takes the newest output of the one before:

    \b
        neurodeploy train
        neurodeploy export --target loihi2
        neurodeploy simulate
        neurodeploy validate
        neurodeploy learn
    """


for command in (
    *(train, sweep, convert, export, simulate, validate, learn),
    *(compare, runs, deployments, targets, models, new, inspect, doctor, bench),
):
    main.add_command(command)
