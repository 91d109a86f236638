"""`python -m vecdb` is the `vecdb` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; `health`, which is asked every few seconds, without all the others."""
    if sys.argv[1:2] == ["health"]:
        from vecdb.rpc import probe

        sys.exit(probe.main(sys.argv[2:]))
    from vecdb.cli import main as run

    run()


if __name__ == "__main__":
    main()
