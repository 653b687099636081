"""What does not fit a call of a `HybridTransformer` is refused by name; the state is printed as its size."""

import inspect

import pytest
import torch

from openloger.errors import InputError
from openloger.memory import HybridConfig, HybridTransformer

CONFIG = {"width": 16, "heads": 2, "chunk": 5, "ttt_head_dim": 8, "newton_schulz": "float32"}


def call(network, x, memory=None, **options):
    """As outside the tests, where nothing checks shapes before the network does."""
    return inspect.unwrap(type(network).forward)(network, x, memory, **options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": torch.zeros(2, 10, 15)}, r"\(2, 10, 15\) are not \(batch, token, 16\)"),
        ({"x": torch.zeros(10, 16)}, r"\(10, 16\) are not"),
        ({"valid": torch.ones(2, 9, dtype=torch.bool)}, r"\(2, 9\), not torch.bool of \(2, 10\)"),
        ({"valid": torch.ones(2, 10)}, "torch.float32"),
        ({"valid": torch.arange(10).expand(2, -1) > 0}, "padding before a token"),
        ({"truncate": 0}, "truncate=0"),
    ],
)
def test_what_does_not_fit_is_refused(given, said):
    network = HybridTransformer(HybridConfig(**CONFIG))
    with pytest.raises(InputError, match=said):
        call(network, **{"x": torch.zeros(2, 10, 16), **given})


def test_places_are_as_many_as_tokens():
    network = HybridTransformer(HybridConfig(**CONFIG, positions="2d"))
    with pytest.raises(InputError, match=r"9 positions .* 10 tokens"):
        call(network, torch.zeros(2, 10, 16), positions=torch.zeros(9, 2))


def test_a_memory_goes_with_as_many_sequences():
    network = HybridTransformer(HybridConfig(**CONFIG))
    _, memory = network(torch.zeros(3, 10, 16))
    assert (memory.batch, memory.cleared().batch) == (3, None)
    with pytest.raises(InputError, match=r"3 sequences .* 2"):
        call(network, torch.zeros(2, 10, 16), memory)
    call(network, torch.zeros(2, 10, 16), memory.rows([0, 2]))
    call(network, torch.zeros(2, 10, 16), memory.cleared())


def test_an_unknown_precision_of_the_iteration_is_refused():
    with pytest.raises(InputError, match=r"fp32.*auto, bfloat16, float32"):
        HybridTransformer(HybridConfig(**CONFIG | {"newton_schulz": "fp32"}))


def test_a_memory_is_printed_as_its_size():
    _, memory = HybridTransformer(HybridConfig(**CONFIG))(torch.randn(2, 10, 16))
    assert f"{memory.nbytes:,} bytes" in repr(memory)
    assert len(repr(memory)) < 120
