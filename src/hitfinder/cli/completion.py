"""`hitfinder completion`: the script that makes a shell complete hitfinder's options."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


EPILOG = """\b
Where to put it:
  bash: hitfinder completion bash > ~/.local/share/bash-completion/completions/hitfinder
  zsh:  hitfinder completion zsh > _hitfinder    (in a folder of $fpath)
  fish: hitfinder completion fish > ~/.config/fish/completions/hitfinder.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    complete = get_completion_class(shell)
    assert complete is not None
    root = ctx.find_root()
    click.echo(complete(root.command, {}, "hitfinder", "_HITFINDER_COMPLETE").source())
