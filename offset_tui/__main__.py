"""`offset`: the program people type. Alone it is the app; its subcommands are in `subcommands`."""

import sys
from collections.abc import Sequence

from offset_engine.programs.arguments import EXIT_INTERRUPTED
from offset_tui import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if cli.is_app(argv):
        return cli.app(cli.parser(takes_file=True), argv)
    try:
        # Only here: the app is on the screen sooner without them.
        from offset_tui import subcommands  # noqa: PLC0415

        return subcommands.main(argv)
    except KeyboardInterrupt:  # while modules were loaded; `run` looks after the rest
        sys.stderr.write("offset: interrupted\n")
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
