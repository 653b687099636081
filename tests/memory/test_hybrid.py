"""The hybrid memory for any sequence, by its laws: causality, padding, parts and the whole, the state as a value."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from openloger.errors import InputError
from openloger.memory import HybridBlock, HybridConfig, HybridMemory, HybridTransformer, KeysValues, Rotary, written
from openloger.memory.swa import SlidingWindowAttention
from openloger.memory.ttt import LearningRates
from openloger.transformer.attention import scaled_dot_product

CONFIG = HybridConfig(width=16, heads=2, depth=2, chunk=5, ttt_head_dim=8, mlp_ratio=2, newton_schulz="float32")
PLACES = torch.stack(torch.meshgrid(torch.arange(1.0, 9.0), torch.arange(5.0), indexing="ij"), dim=-1).flatten(0, 1)
KINDS = [("ttt", "swa"), ("swa",), ("ttt",), ()]


def model(seed=0, **options):
    """Random weights, every gate open by its own amount."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = HybridTransformer(replace(CONFIG, **options))
        for name, weight in network.named_parameters():
            if ".gate.weight" in name:
                torch.nn.init.normal_(weight, std=0.3)
    return network.requires_grad_(False)


def sequence(tokens, *, batch=1, seed=0):
    return torch.randn(batch, tokens, 16, generator=torch.Generator().manual_seed(seed))


def close(one, other):
    """Up to rounding, which the iteration of every update amplifies."""
    return one.shape == other.shape and float((one - other).detach().norm()) <= 5e-4 * float(other.detach().norm())


def same(one, other):
    one, other = one.to_tensors(), other.to_tensors()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def moved_tokens(network, at, tokens=20):
    """Which outputs change when the token `at` does."""
    x = sequence(tokens)
    other = x.clone()
    other[0, at] *= -1
    difference = (network(x)[0] - network(other)[0]).abs().amax(-1)[0]
    return [token for token in range(tokens) if difference[token] > 1e-6]


@pytest.mark.parametrize(("kinds", "reach"), [(("swa",), 20), (("ttt", "swa"), 40), (("ttt",), 40), ((), 10)])
@pytest.mark.parametrize(("causal", "first"), [(True, 7), (False, 5)])
def test_what_a_token_reaches(kinds, reach, causal, first):
    """Causal, nothing before it; else its chunk, too. Of two layers sliding windows reach two chunks on; fast weights
    all that follows."""
    assert moved_tokens(model(kinds=kinds, causal=causal), 7, tokens=40) == list(range(first, reach))


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize(("causal", "smeared_keys"), [(True, False), (False, False), (True, True)])
def test_parts_of_whole_chunks_give_what_the_whole_gives(kinds, causal, smeared_keys):
    network, x = model(kinds=kinds, causal=causal, smeared_keys=smeared_keys), sequence(33, batch=2)
    whole, after = network(x)
    memory, outputs = None, []
    for part in x.split([5, 15, 10, 3], dim=1):
        y, memory = network(part, memory)
        outputs.append(y)
    assert torch.equal(torch.cat(outputs, dim=1), whole)
    assert same(memory, after)


@pytest.mark.parametrize(
    ("kinds", "positions"), [*((kinds, "1d") for kinds in KINDS), (KINDS[0], "2d"), (KINDS[0], "none")]
)
@pytest.mark.parametrize(("causal", "smeared_keys"), [(True, False), (False, False), (True, True)])
def test_chunks_together_are_those_chunks_one_by_one(kinds, positions, causal, smeared_keys):
    """The twin of every span, of the first one and of those that go on from a memory, with a chunk left over."""
    options = {"kinds": kinds, "positions": positions, "causal": causal, "smeared_keys": smeared_keys}
    slow, fast = model(**options), model(**options, together=4)
    x, memory, other = sequence(66, batch=2), None, None
    for part in x.split([33, 33], dim=1):
        places = PLACES[:33] if positions == "2d" else None
        y, memory = slow(part, memory, positions=places)
        z, other = fast(part, other, positions=places)
        assert close(z, y)
    wanted, kept = memory.to_tensors(), other.to_tensors()
    assert wanted.keys() == kept.keys()
    assert all(close(kept[name], tensor) for name, tensor in wanted.items())
    assert other.nbytes == memory.nbytes


@pytest.mark.parametrize("truncate", [None, 3])
def test_the_gradient_of_chunks_together_is_that_of_them_one_by_one(truncate):
    """All of it as one vector: small parts are rounding, which the iteration of every update amplifies."""
    gradients = []
    for together in (1, 4):
        network, x = model(together=together, smeared_keys=True).requires_grad_(True), sequence(33, batch=2)
        y, _ = network(x.requires_grad_(), truncate=truncate)
        given = torch.autograd.grad(y.square()[..., ::3].sum(), [x, *network.parameters()], allow_unused=True)
        gradients.append(given)
    assert [one is None for one in gradients[0]] == [one is None for one in gradients[1]]
    slow, fast = (torch.cat([part.flatten() for part in one if part is not None]) for one in gradients)
    assert float((fast - slow).norm() / slow.norm()) < 1e-4


def test_an_unfinished_chunk_is_given_again_with_each_new_token():
    """Token by token, from the memory of the last finished chunk."""
    network, x = model(), sequence(13)
    whole, _ = network(x)
    memory, outputs = None, []
    for token in range(13):
        start = token - token % 5
        y, after = network(x[:, start : token + 1], memory)
        outputs.append(y[:, -1:])
        memory = after if token % 5 == 4 else memory
    assert close(torch.cat(outputs, dim=1), whole)


@pytest.mark.parametrize("positions", ["1d", "2d", "none"])
@pytest.mark.parametrize(("causal", "smeared_keys"), [(True, False), (False, False), (True, True)])
def test_padding_changes_nothing(positions, causal, smeared_keys):
    """Rows of different lengths in one batch are those rows alone; what stands in the padding does not matter."""
    network, lengths = model(positions=positions, causal=causal, smeared_keys=smeared_keys), (33, 12, 5)
    places = PLACES[:33] if positions == "2d" else None
    x = sequence(33, batch=3)
    valid = torch.arange(33) < torch.tensor(lengths)[:, None]
    x[~valid] = 7.0
    together, memory = network(x, valid=valid, positions=places)
    assert torch.isfinite(together).all()
    for row, length in enumerate(lengths):
        alone, own = network(x[row : row + 1, :length], positions=None if places is None else places[:length])
        assert close(together[row : row + 1, :length], alone), row
        for layer, weights in own.fast_weights.items():
            for one, other in zip(memory.rows([row]).fast_weights[layer], weights, strict=True):
                assert close(one, other), (row, layer)
        for layer, kept in own.keys_values.items():
            ours = memory.rows([row]).keys_values[layer]
            assert close(ours.keys[0, :, ours.valid[0]], kept.keys[0]), (row, layer)
            assert close(ours.values[0, :, ours.valid[0]], kept.values[0]), (row, layer)


def test_streams_that_arrive_in_ragged_batches_are_those_streams_alone():
    """Two rows, each ending its chunk where it likes, and going on after it."""
    network, x = model(depth=2), sequence(20, batch=2, seed=3)
    counts = [(5, 2), (0, 5), (4, 4), (5, 0)]
    taken, memory, outputs = [0, 0], None, [[], []]
    for chunk in counts:
        batch = torch.full((2, 5, 16), 9.0)
        for row, count in enumerate(chunk):
            batch[row, :count] = x[row, taken[row] : taken[row] + count]
            taken[row] += count
        valid = torch.arange(5) < torch.tensor(chunk)[:, None]
        y, memory = network(batch, memory, valid=valid)
        for row, count in enumerate(chunk):
            outputs[row].append(y[row : row + 1, :count])
    for row in range(2):
        alone, own, start = [], None, 0
        for count in [chunk[row] for chunk in counts if chunk[row]]:
            y, own = network(x[row : row + 1, start : start + count], own)
            alone.append(y)
            start += count
        assert close(torch.cat(outputs[row], dim=1), torch.cat(alone, dim=1)), row


def test_a_batch_is_its_rows():
    network, x = model(), sequence(17, batch=3)
    together, memory = network(x)
    for row in range(3):
        alone, own = network(x[row : row + 1])
        assert close(together[row : row + 1], alone)
        picked = memory.rows([row]).to_tensors()
        assert all(close(picked[name], tensor) for name, tensor in own.to_tensors().items())


def test_memories_are_joined_to_a_batch_and_taken_apart():
    network, x = model(), sequence(15, batch=2, seed=1)
    long, short = network(sequence(15))[1], network(sequence(8))[1]
    joined = HybridMemory.join([long, short])
    together, _ = network(x, joined)
    for row, memory in enumerate((long, short)):
        alone, _ = network(x[row : row + 1], memory)
        assert close(together[row : row + 1], alone), row
    assert same(HybridMemory.join([long, long]).rows([1]), long)
    with pytest.raises(InputError, match="different sets of layers"):
        HybridMemory.join([long, HybridMemory()])


def test_a_saved_memory_goes_on_bit_for_bit(tmp_path):
    network, x = model(), sequence(22, batch=2)
    valid = torch.arange(22) < torch.tensor([22, 9])[:, None]
    for memory in (network(x)[1], network(x, valid=valid)[1]):
        memory.save(tmp_path / "memory.safetensors")
        again = HybridMemory.load(tmp_path / "memory.safetensors")
        assert same(again, memory)
        assert torch.equal(network(x, again)[0], network(x, memory)[0])


def test_its_size_does_not_depend_on_the_length():
    """2·T·C numbers of keys and values and 3·expansion·head_dim·C fast weights in each of two layers."""
    network = model()
    sizes = {network(sequence(tokens))[1].nbytes for tokens in (5, 50, 200)}
    assert sizes == {2 * 4 * (2 * 5 * 16 + 3 * 2 * 8 * 16)}


def test_each_memory_is_forgotten_by_itself():
    network, x = model(), sequence(10)
    _, memory = network(sequence(10, seed=5))
    assert memory.reset().keys_values is memory.keys_values
    fresh, _ = network(x)
    assert torch.equal(network(x, memory.cleared())[0], fresh)
    seen = [network(x, m)[0] for m in (memory, memory.reset(), replace(memory, keys_values={}), memory.cleared())]
    assert all((one - other).abs().max() > 1e-3 for i, one in enumerate(seen) for other in seen[:i])


@pytest.mark.parametrize("truncate", [None, 1, 2, 3])
def test_the_gradient_reaches_back_to_the_cut(truncate):
    network, x = model(), sequence(30).requires_grad_()
    y, _ = network(x, truncate=truncate)
    (gradient,) = torch.autograd.grad(y[:, 25:].square().sum(), x)  # of the sixth chunk
    first = 0 if truncate is None else 5 // truncate * truncate
    reached = [chunk for chunk, part in enumerate(gradient.split(5, dim=1)) if part.abs().max() > 0]
    assert reached == list(range(first, 6))


def test_truncation_does_not_change_the_output():
    network, x = model(), sequence(30)
    assert torch.equal(network(x, truncate=2)[0], network(x)[0])


def test_the_gradient_through_parts_is_that_through_the_whole():
    """The state carries it from call to call."""
    network, x = model().requires_grad_(True), sequence(30)
    gradients = []
    for parts in (x.split(30, dim=1), x.split(5, dim=1)):
        memory = y = None
        for part in parts:
            y, memory = network(part, memory)
        gradients.append(torch.autograd.grad(y[:, -5:].square().sum(), list(network.parameters()), allow_unused=True))
    for name, whole, parts in zip(dict(network.named_parameters()), *gradients, strict=True):
        assert whole is not None or ".gate" not in name
        assert whole is None or close(parts, whole), name


def test_small_learning_rates_shorten_the_step():
    """With them a chunk leaves the fast weights as they are; as published it does not."""
    moved = {}
    for scaled in (True, False):
        layer = model(scaled_steps=scaled).blocks[0].ttt
        start = layer.initial_weights(1)
        for bias in (0.0, -6.0):
            layer.to_rates.weight.zero_()
            layer.to_rates.bias.fill_(bias)
            _, after = layer(sequence(5), None)
            moved[scaled, bias] = float((after.w0 - start.w0).norm() / start.w0.norm())
    assert moved[True, 0.0] == pytest.approx(moved[False, 0.0], rel=1e-4)
    assert moved[False, -6.0] == pytest.approx(moved[False, 0.0], rel=1e-2)
    assert moved[True, -6.0] < 5e-3 * moved[True, 0.0]


@pytest.mark.parametrize(("amount", "length"), [(0.09, 0.0), (0.55, 0.25), (1.0, 1.0), (3.0, 1.0)])
def test_the_length_of_a_step_by_what_is_written(amount, length):
    """Next to nothing counts as nothing; between a tenth and all of the initial rate it grows as a square."""
    update = model().blocks[0].ttt.update
    rates = LearningRates(*3 * [torch.full((2, 1, 4, 1), 0.01 * amount)])
    padded = LearningRates(*(torch.nn.functional.pad(rate, (0, 0, 0, 3)) for rate in rates))
    for given, tokens in ((rates, None), (padded, torch.full((2, 1, 1, 1), 4.0))):
        assert torch.allclose(update.amount(given, tokens), torch.tensor(amount))
        assert torch.allclose(update._length(given, tokens), torch.tensor(length), atol=1e-5)


def test_what_chunks_write_is_collected_and_trains():
    """Per chunk and layer the mean rates over 0.01, padding not counted; outside of it nothing is."""
    network, x = model(), sequence(12, batch=2)
    for block in network.blocks:
        block.ttt.to_rates.weight.zero_()
        block.ttt.to_rates.bias.zero_()
    network.blocks[1].ttt.to_rates.bias.fill_(-1.0)
    network.requires_grad_(True)
    valid = torch.arange(12) < torch.tensor([12, 7])[:, None]
    with written(network) as amounts:
        network(x, valid=valid)
    network(x)
    assert [amount.shape for amount in amounts] == 6 * [(3, 2, 2, 1, 1)]  # blocks by turns, three chunks
    less = torch.nn.functional.softplus(torch.tensor(-5.600165)) / 0.01
    for number, amount in enumerate(amounts):
        wanted = torch.tensor(1.0) if number % 2 == 0 else less
        assert torch.allclose(amount[:, 0], wanted, rtol=1e-4)
        assert torch.allclose(amount[:, 1], wanted if number < 4 else torch.tensor(0.0), rtol=1e-4)
    torch.stack(amounts).mean().backward()
    assert network.blocks[1].ttt.to_rates.bias.grad.gt(0).all()


def test_closed_gates_leave_the_memory_out():
    with_memory, without = model(gate_bias=0.0), model(kinds=())
    for name, weight in with_memory.named_parameters():
        if ".gate.weight" in name:
            weight.zero_()
    shared = {name: tensor for name, tensor in with_memory.state_dict().items() if ".ttt." not in name}
    without.load_state_dict({name: tensor for name, tensor in shared.items() if ".swa." not in name})
    x = sequence(17)
    assert torch.equal(with_memory(x)[0], without(x)[0])


def test_one_chunk_without_memory_is_plain_attention():
    network = model(kinds=(), chunk=40, depth=1)
    x = sequence(40)
    order = Rotary.of(torch.arange(40.0)[:, None], 8, base=10_000.0)
    assert torch.equal(network(x)[0], network.norm(network.blocks[0].block(x, order, causal=True)))


def test_positions_of_the_previous_chunk_count_on():
    """A causal window with its predecessor is one chunk of both, read at the second, behind its gate."""
    torch.manual_seed(0)
    layer = SlidingWindowAttention(16, 2, mlp_ratio=2, layer_scale=None, causal=True, gate_bias=1.0)
    block = HybridBlock(replace(CONFIG, kinds=("swa",), chunk=5))
    block.swa, block.block = layer, Identity()
    x = sequence(10, seed=4)
    _, memory = block(x[:, :5], HybridMemory())
    out, _ = block(x[:, 5:], memory)
    y = layer.block(x, Rotary.of(torch.arange(10.0)[:, None], 8, base=10_000.0), causal=True)[:, 5:]
    assert close(out, x[:, 5:] + y * torch.nn.functional.silu(layer.gate(y)))


class Identity(torch.nn.Module):
    def forward(self, x, *_, **__):
        return x


def slowly_mixed(queries, context, *, causal):
    """Softmax over the tokens that a query sees, one query at a time."""
    out, ahead = torch.empty_like(queries), context.keys.shape[2] - queries.shape[2]
    for row in range(len(queries)):
        for token in range(queries.shape[2]):
            seen = [
                key
                for key in range(context.keys.shape[2])
                if key == token + ahead
                or ((key <= token + ahead or not causal) and (context.valid is None or context.valid[row, key]))
            ]
            logits = torch.einsum("hd,hkd->hk", queries[row, :, token], context.keys[row, :, seen])
            weights = (logits / queries.shape[-1] ** 0.5).softmax(-1)
            out[row, :, token] = torch.einsum("hk,hkd->hd", weights, context.values[row, :, seen])
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("ahead", [0, 3])
def test_who_sees_whom(causal, masked, ahead, dtype):
    """Every kernel against one query at a time: of own tokens those before, of the earlier ones all, none that pads."""
    torch.manual_seed(0)
    queries, keys, values = torch.randn(2, 2, 6, 8), *torch.randn(2, 2, 2, 6 + ahead, 8)
    valid = torch.rand(2, 6 + ahead) > 0.4 if masked else None
    wanted = slowly_mixed(queries, KeysValues(keys, values, valid), causal=causal)
    context = KeysValues(keys.to(dtype), values.to(dtype), valid)
    mixed = scaled_dot_product(queries.to(dtype), context, causal=causal).float()
    assert float((mixed - wanted).norm() / wanted.norm()) < (1e-5 if dtype == torch.float32 else 0.02)


def test_places_in_a_picture_are_the_same_in_every_chunk():
    network, x = model(positions="2d", causal=False), sequence(10)
    whole, _ = network(x, positions=PLACES[:10])
    repeated, _ = network(x, positions=PLACES[:5].repeat(2, 1))
    assert torch.equal(whole[:, :5], repeated[:, :5])
    assert not close(whole[:, 5:], repeated[:, 5:])
    with pytest.raises(InputError, match=r"2d.*take places"):
        network(x)
    with pytest.raises(InputError, match=r"1d.*take no places"):
        model()(x, positions=PLACES[:10])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"positions": "3d"}, "3d"),
        ({"kinds": ("rnn",)}, "rnn"),
        ({"heads": 3}, r"16.*heads 3"),
        ({"ttt_head_dim": 5}, r"16.*ttt_head_dim 5"),
        ({"width": 24, "heads": 4, "positions": "2d"}, "6 channels"),
        ({"chunk": 0}, "chunk of 0"),
        ({"together": 0}, "0 chunks together"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        replace(CONFIG, **wrong)


def test_autocast_stays_near_float32_and_the_state_in_it():
    """Rounding of the first chunk; of the second that of an update, too, which the iteration amplifies."""
    network, x = model(seed=1), sequence(10)
    exact, _ = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, memory = network(x)
    far = (rounded.float() - exact)[0].unflatten(0, (2, 5)).norm(dim=(1, 2)) / exact.norm()
    assert far[0] < 0.02
    assert far[1] < 0.2
    assert all(part.dtype == torch.float32 for weights in memory.fast_weights.values() for part in weights)
    network.requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        network(x)[0].float().square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.grad is not None)


COMPILED = """
import torch
from openloger.memory import HybridBlock, HybridConfig, HybridMemory
torch.manual_seed(0)
block = HybridBlock(HybridConfig(width=16, heads=2, chunk=5, ttt_head_dim=8, mlp_ratio=2))
compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
memory = other = HybridMemory()
for part in torch.randn(1, 10, 16).split(5, dim=1):
    y, memory = block(part, memory)
    z, other = compiled(part, other)
    assert (y - z).norm() < 1e-3 * y.norm()
(z.square().sum()).backward()
assert all(weight.grad is not None for name, weight in block.named_parameters() if name.startswith("ttt.w"))
"""


@pytest.mark.slow
def test_a_compiled_block_is_the_block():
    """Without a break of its graph; by the tracer alone, in a process that does not check shapes."""
    ended = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
