"""The command `hitfinder`, and `python -m hitfinder`."""

import sys


def main() -> None:
    """Run the command line and exit; Ctrl-C while it is loaded ends it as it does later."""
    try:
        from hitfinder.cli.main import main as command
    except KeyboardInterrupt:
        print("hitfinder: interrupted", file=sys.stderr)
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
