"""Claim: the network is the bottleneck. Decoding ahead, writing behind and carried features against none of them.

What `openloger bench twin` does, for several networks one after the other.

    python benchmarks/pipeline.py [--networks pocket compact] [--frames 200] [--repeats 3]
"""

from __future__ import annotations

import argparse

from openloger.benchmarking import BenchmarkNetwork, Ledger
from openloger.benchmarking.tables import twin_table
from openloger.benchmarking.twin import TwinSettings, measure_twin
from openloger.cli.results import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["pocket", "compact"])
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    settings = TwinSettings(frames=given.frames, repeats=given.repeats)
    for network in given.networks:
        ledger = Ledger("twin", {"network": network, **vars(given)})
        choice = BenchmarkNetwork(network, device="cpu")
        ledger.measure("twin", lambda choice=choice: measure_twin(choice, settings))
        show(twin_table(ledger.content()), network)


if __name__ == "__main__":
    main()
