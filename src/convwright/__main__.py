"""``python -m convwright``: the same as the command `convwright`."""

from convwright.cli.main import main

if __name__ == "__main__":
    main()
