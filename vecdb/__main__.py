"""`python -m vecdb` is the `vecdb` command."""

from vecdb.cli import main

if __name__ == "__main__":
    main()
