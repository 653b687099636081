"""Rotary positions by their laws; attention and blocks against slow twins."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openloger.transformer.attention import Attention, Block, KeysValues, LayerScale, Rotary, scaled_dot_product

PLACES = st.tuples(st.integers(0, 40), st.integers(0, 40))
lawful = settings(derandomize=True, deadline=None, max_examples=40)


def turned(vector, place):
    """One vector at one place, as the module turns it."""
    rotary = Rotary.of(torch.tensor([place], dtype=torch.float32), len(vector))
    return rotary(vector.float()[None, None, None])[0, 0, 0]


def slowly_turned(vector, place, base=100.0):
    """Pairs (i, i + D/2) of each half turned as complex numbers: the first half by y, the second by x."""
    out = torch.empty_like(vector)
    half = len(vector) // 2
    for part, position in enumerate(place):
        for i in range(half // 2):
            first, second = part * half + i, part * half + i + half // 2
            angle = position * base ** (-2 * i / half)
            number = complex(vector[first], vector[second]) * complex(math.cos(angle), math.sin(angle))
            out[first], out[second] = number.real, number.imag
    return out


def vectors(count, width=16, seed=0):
    return torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@lawful
@given(PLACES, st.integers(0, 99))
def test_rotary_is_a_turn_of_pairs(place, seed):
    (vector,) = vectors(1, seed=seed)
    assert torch.allclose(turned(vector, place).double(), slowly_turned(vector, place), atol=2e-5)


@lawful
@given(PLACES)
def test_rotary_keeps_the_norm(place):
    (vector,) = vectors(1)
    assert turned(vector, place).norm().item() == pytest.approx(vector.norm().item(), rel=1e-5)


@lawful
@given(PLACES, PLACES, st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_only_relative_positions_count(a, b, shift):
    query, key = vectors(2)
    here = turned(query, a) @ turned(key, b)
    there = turned(query, (a[0] + shift[0], a[1] + shift[1])) @ turned(key, (b[0] + shift[0], b[1] + shift[1]))
    assert there.item() == pytest.approx(here.item(), abs=1e-4)


def test_special_tokens_stay_as_they_are():
    (vector,) = vectors(1)
    assert torch.equal(turned(vector, (0, 0)), vector.float())


def test_a_repeated_rotary_turns_every_frame_alike():
    rotary = Rotary.of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 16)
    x = torch.randn(1, 2, 6, 16)
    frames = [rotary(x[:, :, 2 * frame : 2 * frame + 2]) for frame in range(3)]
    assert torch.equal(rotary.repeat(3)(x), torch.cat(frames, dim=2))


def slow_attention(module, x, *, earlier=None, rotary=None):
    """Softmax over the keys, one query and one head at a time."""
    batch, tokens, width = x.shape
    dim = width // module.heads
    q, k, v = (part.view(batch, tokens, module.heads, dim) for part in module.qkv(x).split(width, dim=-1))
    out = torch.empty_like(x)
    for b in range(batch):
        for head in range(module.heads):
            queries, keys = module.q_norm(q[b, :, head]), module.k_norm(k[b, :, head])
            if rotary is not None:
                queries, keys = rotary(queries[None, None])[0, 0], rotary(keys[None, None])[0, 0]
            values = v[b, :, head]
            if earlier is not None:
                keys = torch.cat([earlier.keys[b, head], keys])
                values = torch.cat([earlier.values[b, head], values])
            for token in range(tokens):
                weights = (keys @ queries[token] / math.sqrt(dim)).exp()
                out[b, token, head * dim : (head + 1) * dim] = (weights / weights.sum()) @ values
    return module.proj(out)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention_is_softmax_over_keys(qk_norm):
    torch.manual_seed(0)
    module = Attention(32, 2, qk_norm=qk_norm)
    x = torch.randn(2, 5, 32)
    rotary = Rotary.of(torch.rand(5, 2) * 9, 16)
    assert torch.allclose(module(x, rotary), slow_attention(module, x, rotary=rotary), atol=1e-5)
    assert torch.allclose(module(x), slow_attention(module, x), atol=1e-5)


def test_attention_reaches_back_to_earlier_keys():
    torch.manual_seed(0)
    module = Attention(32, 2, qk_norm=True)
    x = torch.randn(2, 5, 32)
    earlier = KeysValues(torch.randn(2, 2, 3, 16), torch.randn(2, 2, 3, 16))
    queries, own = module.project(x, None)
    assert torch.allclose(
        module.attend(queries, own.with_prefix(earlier)), slow_attention(module, x, earlier=earlier), atol=1e-5
    )
    assert own.with_prefix(None) is own


def test_training_in_bfloat16_mixes_as_the_fused_kernel_does():
    torch.manual_seed(0)
    queries, keys, values, pull = torch.randn(4, 2, 3, 40, 16)
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        given = [part.to(dtype).requires_grad_() for part in (queries, keys, values)]
        mixed = scaled_dot_product(given[0], KeysValues(*given[1:]))
        assert mixed.dtype == dtype
        results.append((mixed.detach(), *torch.autograd.grad(mixed, given, pull.to(dtype))))
    for exact, rounded in zip(*results, strict=True):
        assert float((rounded.float() - exact).norm() / exact.norm()) < 0.01
    fused = torch.nn.functional.scaled_dot_product_attention(*(part.bfloat16() for part in (queries, keys, values)))
    torch.testing.assert_close(results[1][0], fused, rtol=0.02, atol=0.01)


@pytest.mark.parametrize("tokens", [1, 256, 700])
def test_bfloat16_on_a_processor_mixes_as_the_fused_kernel_does(tokens):
    torch.manual_seed(0)
    queries, keys, values = torch.randn(1, 2, tokens, 16), *torch.randn(2, 1, 2, 300, 16)
    context = KeysValues(keys, values)
    exact = scaled_dot_product(queries, context)
    rounded = scaled_dot_product(queries.bfloat16(), KeysValues(keys.bfloat16(), values.bfloat16()))
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - exact).norm() / exact.norm()) < 0.01


def test_the_order_of_keys_does_not_matter():
    torch.manual_seed(0)
    module = Attention(32, 2, qk_norm=True)
    x, order = torch.randn(1, 7, 32), torch.randperm(7)
    assert torch.allclose(module(x)[:, order], module(x[:, order]), atol=1e-5)


def test_a_block_is_two_residual_branches():
    torch.manual_seed(0)
    block = Block(32, 2, qk_norm=True, layer_scale=0.5)
    for scale in (block.attention_scale, block.mlp_scale):
        torch.nn.init.normal_(scale.gamma)
    x, rotary = torch.randn(2, 5, 32), Rotary.of(torch.rand(5, 2), 16)
    middle = x + block.attention_scale.gamma * block.attention(block.attention_norm(x), rotary)
    gelu = block.mlp.fc1(block.mlp_norm(middle))
    gelu = gelu * 0.5 * (1 + torch.erf(gelu / math.sqrt(2)))
    assert torch.allclose(block(x, rotary), middle + block.mlp_scale.gamma * block.mlp.fc2(gelu), atol=1e-5)


def test_a_block_with_closed_scales_is_the_identity():
    x = torch.randn(2, 5, 32)
    assert torch.equal(Block(32, 2, qk_norm=True, layer_scale=0.0)(x), x)


def test_layer_scale_starts_at_its_value():
    assert LayerScale(3, 0.25).gamma.tolist() == [0.25] * 3
