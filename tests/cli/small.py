"""The arguments of the tests' commands: a random `pocket`, small frames, short windows."""

SMALL = (
    *("--network", "pocket", "--weights", "random", "--device", "cpu"),
    *("--size", "40", "48", "--window", "6", "--overlap", "2"),
)
