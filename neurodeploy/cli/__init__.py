"""The command line: parse, call one library function, print. One file for each kind of command.

Imports stay inside the commands, so that ``--help`` does not wait for torch or Lava.
"""

from __future__ import annotations

from typing import Any

import click

from neurodeploy.cli.bench import bench
from neurodeploy.cli.export import export
from neurodeploy.cli.learn import learn
from neurodeploy.cli.listing import doctor, inspect, models, targets
from neurodeploy.cli.simulate import simulate, validate
from neurodeploy.cli.train import train
from neurodeploy.errors import NeurodeployError
from neurodeploy.support.processes import give_way, is_main


class _Commands(click.Group):
    """Turns this package's errors into one message and an exit code, never a traceback.

    Of processes that were launched together, the main one speaks.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NeurodeployError as error:
            message, code = f"Error: {error}", error.exit_code
        except KeyboardInterrupt:
            message, code = "Interrupted.", 130
        except click.UsageError as error:
            if is_main():
                raise
            message, code = error.format_message(), error.exit_code
        if is_main():
            click.echo(message, err=True)
        else:
            give_way()
        ctx.exit(code)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neurodeploy")
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
    *(train, export, simulate, validate, learn),
    *(targets, models, inspect, doctor, bench),
):
    main.add_command(command)
