"""Pairs of places that were verified, kept beside the recording while loops are searched for.

A pass of the network takes most of the time. So what each found is kept, and a search that was cut goes the same way
again without them: its result is that of one that was not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import torch

from openloger.corrections.places import Places
from openloger.corrections.revisits import Agreement, Revisit
from openloger.geometry import Sim3
from openloger.network import Network, weights_hash
from openloger.recording import Recording, UnfinishedPass
from openloger.version import __version__

Pair = tuple[int, int]  # numbers of places


class VerifiedPairs:
    """What was found of each pair, in the order in which they were asked for: a revisit, or the reason why it is none.

    A network without a file of weights cannot be told from another one, and nothing is kept.
    """

    def __init__(self, recording: Recording, network: Network, places: Places) -> None:
        self._found: dict[Pair, Revisit | str] = {}
        self._earlier: dict[Pair, Revisit | str] = {}
        self._kept = None
        if network.weights is not None:
            self._kept = UnfinishedPass(recording.path, _dependencies(recording, network, places))
            self._earlier = {(one["first"], one["second"]): _found_of(one["found"]) for one in self._kept.read()}

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._found

    def __getitem__(self, pair: Pair) -> Revisit | str:
        return self._found[pair]

    @property
    def revisits(self) -> list[Revisit]:
        return [found for found in self._found.values() if isinstance(found, Revisit)]

    def verify(self, pair: Pair, verify: Callable[[], Revisit | str]) -> Revisit | str:
        """Of a pair that was not asked for yet."""
        assert pair not in self._found
        is_known = pair in self._earlier
        self._found[pair] = self._earlier[pair] if is_known else verify()
        if self._kept is not None and not is_known:
            everything = self._earlier | self._found
            self._kept.write([{"first": a, "second": b, "found": _json_of(one)} for (a, b), one in everything.items()])
        return self._found[pair]

    def finish(self) -> None:
        """The search is over, and what was kept goes."""
        if self._kept is not None:
            self._kept.remove()


def _dependencies(recording: Recording, network: Network, places: Places) -> str:
    """A digest of all that verification depends on."""
    assert network.weights is not None
    digest = hashlib.sha256(f"{__version__} {network.config.name} {weights_hash(network.weights)}".encode())
    for values in (recording.world_from_cam, recording.intrinsics, places.frames, places.stops):
        digest.update(values.tobytes())
    return digest.hexdigest()


def _json_of(found: Revisit | str) -> Any:
    if isinstance(found, str):
        return found
    drift = found.drift
    return {
        "frames": [found.first, found.second],
        "scale": float(drift.scale),
        "rotation": drift.rotation.tolist(),
        "translation": drift.translation.tolist(),
        "agreement": astuple(found.agreement),
        "sigma": found.sigma,
    }


def _found_of(value: Any) -> Revisit | str:
    if isinstance(value, str):
        return value
    numbers = (value[name] for name in ("scale", "rotation", "translation"))
    drift = Sim3(*(torch.tensor(one, dtype=torch.float64) for one in numbers))
    first, second = value["frames"]
    overlap, inliers, likeness = value["agreement"]
    return Revisit(first, second, drift, Agreement(overlap, inliers, likeness), value["sigma"])
