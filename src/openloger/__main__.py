"""`python -m openloger` is the `openloger` program."""

from openloger.cli import program

if __name__ == "__main__":
    program()
