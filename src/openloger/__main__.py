"""`python -m openloger` is the `openloger` program."""

from openloger.cli import main

if __name__ == "__main__":
    main()
