"""What commands of the tests are typed with: a random `pocket`, small frames, short windows."""

SMALL = (
    *("--network", "pocket", "--weights", "random", "--device", "cpu"),
    *("--size", "40", "48", "--window", "6", "--overlap", "2"),
)
