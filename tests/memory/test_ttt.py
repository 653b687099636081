"""Test-time training: closed form against autograd, batched step against loop, reading before writing."""

import pytest
import torch
import torch.nn.functional as F
from network.reference import chain, distance, expected_tensors, toy_network

from openloger.memory.ttt import (
    FastWeights,
    LearningRates,
    TestTimeTraining,
    apply,
    gradient,
    gram_newton_schulz,
    newton_schulz,
    plain_newton_schulz,
    update,
)

BATCH, HEADS, TOKENS, DIM, HIDDEN = 2, 3, 7, 4, 16


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def fast_weights(dtype=torch.float64, seed=0):
    wide, tall = (BATCH, HEADS, DIM, HIDDEN), (BATCH, HEADS, HIDDEN, DIM)
    return FastWeights(*(draw(*shape, dtype=dtype, seed=seed + i) for i, shape in enumerate((wide, tall, wide))))


def keys_values_rates():
    k, v = draw(BATCH, HEADS, TOKENS, DIM, seed=10), draw(BATCH, HEADS, TOKENS, DIM, seed=11)
    return k, v, LearningRates(*(draw(BATCH, HEADS, TOKENS, 1, seed=20 + i).abs() for i in range(3)))


def test_the_fast_network_is_gated():
    weights, u = fast_weights(), draw(BATCH, HEADS, TOKENS, DIM)
    out = apply(weights, u)
    for b in range(BATCH):
        for head in range(HEADS):
            w0, w1, w2 = (w[b, head] for w in weights)
            for token in range(TOKENS):
                hidden = F.silu(u[b, head, token] @ w0) * (u[b, head, token] @ w2)
                assert torch.allclose(out[b, head, token], hidden @ w1)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_closed_form_is_the_gradient_of_the_objective(index):
    """Of Σ lrᵢ·⟨f(k), v⟩ with respect to wᵢ, by autograd; added, it descends on −⟨f(k), v⟩."""
    k, v, rates = keys_values_rates()
    weights = FastWeights(*(w.requires_grad_() for w in fast_weights()))
    objective = (rates[index] * apply(weights, k) * v).sum()
    (wanted,) = torch.autograd.grad(objective, weights[index])
    assert torch.allclose(gradient(weights, k, v, rates)[index], wanted, rtol=1e-10, atol=1e-12)


def slow_newton_schulz(matrix, steps=5):
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


def test_newton_schulz_in_a_batch_equals_one_by_one():
    """Forward and backward."""
    batch = draw(2, 3, DIM, HIDDEN).requires_grad_()
    target = draw(2, 3, DIM, HIDDEN, seed=1)
    together = newton_schulz(batch, dtype=torch.float64)
    apart = torch.stack([slow_newton_schulz(m) for m in batch.flatten(0, 1)]).unflatten(0, (2, 3))
    assert torch.allclose(together, apart, atol=1e-12)
    (one,) = torch.autograd.grad((together * target).sum(), batch)
    (other,) = torch.autograd.grad((apart * target).sum(), batch)
    assert torch.allclose(one, other, atol=1e-12)


def test_newton_schulz_brings_singular_values_near_one():
    """From a condition number of 50; the quintic trades accuracy for speed and lands between 0.6 and 1.3."""
    u, v = torch.linalg.qr(draw(DIM, DIM))[0], torch.linalg.qr(draw(HIDDEN, DIM, seed=1))[0]
    matrix = u @ torch.diag(torch.tensor([1.0, 0.5, 0.1, 0.02], dtype=torch.float64)) @ v.T
    values = torch.linalg.svdvals(newton_schulz(matrix, dtype=torch.float64))
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.allclose(
        newton_schulz(7.0 * matrix, dtype=torch.float64), newton_schulz(matrix, dtype=torch.float64), atol=1e-5
    )


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_the_gram_form_is_the_plain_form(steps):
    """Forward and backward, in float64, where rounding does not hide a term."""
    plain, gram = (draw(2, 3, DIM, HIDDEN).requires_grad_() for _ in range(2))
    target = draw(2, 3, DIM, HIDDEN, seed=1)
    wanted = plain_newton_schulz(plain, dtype=torch.float64, steps=steps)
    found = gram_newton_schulz(gram, dtype=torch.float64, steps=steps)
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-12)
    (wanted.mul(target).sum() + found.mul(target).sum()).backward()
    assert torch.allclose(gram.grad, plain.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("smallest", "most"), [(1.0, 5e-6), (1e-2, 1e-5), (1e-5, 2e-5)])
def test_the_gram_form_in_float32_is_near_float64(smallest, most):
    """Also near low rank, where the squared condition number would cost three digits if A were never computed anew."""
    u, v = torch.linalg.qr(draw(32, 32))[0], torch.linalg.qr(draw(128, 32, seed=1))[0]
    matrix = u @ torch.diag(torch.logspace(0, torch.tensor(smallest).log10().item(), 32, dtype=torch.float64)) @ v.T
    exact = plain_newton_schulz(matrix, dtype=torch.float64)
    assert distance(gram_newton_schulz(matrix.float(), dtype=torch.float32), exact) < most


@pytest.mark.parametrize(("dtype", "columns", "form"), [
    (torch.float32, HIDDEN, "gram_newton_schulz"),
    (torch.float32, DIM, "plain_newton_schulz"),
    (torch.bfloat16, HIDDEN, "plain_newton_schulz"),
])  # fmt: skip
def test_the_form_that_is_taken(monkeypatch, dtype, columns, form):
    """bfloat16 has not the digits for squares of condition numbers, and square matrices gain nothing."""
    taken = []
    for name in ("gram_newton_schulz", "plain_newton_schulz"):
        monkeypatch.setattr(f"openloger.memory.ttt.{name}", lambda x, *, name=name, **_: taken.append(name) or x)
    newton_schulz(draw(DIM, columns), dtype=dtype)
    assert taken == [form]


def slow_update(weights, step):
    """Every head of every weight for itself, tall matrices transposed on the way."""
    new = [torch.empty_like(w) for w in weights]
    for i, (w, g) in enumerate(zip(weights, step, strict=True)):
        for b in range(w.shape[0]):
            for head in range(w.shape[1]):
                matrix = g[b, head]
                tall = matrix.shape[0] > matrix.shape[1]
                direction = slow_newton_schulz(matrix.T).T if tall else slow_newton_schulz(matrix)
                moved = w[b, head] + direction
                for column in range(moved.shape[1]):
                    scale = w[b, head][:, column].norm() / (moved[:, column].norm() + 1e-5)
                    new[i][b, head][:, column] = moved[:, column] * scale
    return FastWeights(*new)


def test_the_update_of_all_weights_at_once_equals_a_loop():
    weights = fast_weights(torch.float32)
    step = FastWeights(*(g.requires_grad_() for g in fast_weights(torch.float32, seed=5)))
    together, apart = update(weights, step, dtype=torch.float32), slow_update(weights, step)
    for one, other in zip(together, apart, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    target = fast_weights(torch.float32, seed=30)
    gradients = [
        torch.autograd.grad(sum((w * t).sum() for w, t in zip(new, target, strict=True)), step)
        for new in (together, apart)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_update_keeps_every_column_norm(dtype):
    weights = fast_weights(torch.float32)
    new = update(weights, fast_weights(torch.float32, seed=5), dtype=dtype)
    for before, after in zip(weights, new, strict=True):
        assert distance(after.norm(dim=-2), before.norm(dim=-2)) < 1e-4
        assert distance(after, before) > 0.1


def test_an_update_cares_for_the_direction_only():
    """The step is orthogonalised, so its length is forgotten."""
    weights, step = fast_weights(torch.float32), fast_weights(torch.float32, seed=5)
    short = update(weights, FastWeights(*(0.01 * g for g in step)), dtype=torch.float32)
    for one, other in zip(update(weights, step, dtype=torch.float32), short, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def opened_layer(**options):
    torch.manual_seed(0)
    layer = TestTimeTraining(12, head_dim=4, expansion=4, **{"pre_norm": True, "newton_schulz": "float32", **options})
    torch.nn.init.normal_(layer.gate.weight)
    return layer


def slow_layer(layer, x, weights):
    """A window's reading of memory: token by token and head by head, from the weights as they came in."""
    heads, dim = layer.heads, layer.w0.shape[1]
    normed = layer.pre_norm(x)
    out = torch.empty_like(x)
    for b in range(x.shape[0]):
        for token in range(x.shape[1]):
            features = F.silu(layer.to_qkv.weight @ normed[b, token])  # (q/k/v, head, d)
            read = []
            for head in range(heads):
                q = features[head * dim : (head + 1) * dim]
                q = q / (q.norm() + 1e-5)
                o = (F.silu(q @ weights.w0[b, head]) * (q @ weights.w2[b, head])) @ weights.w1[b, head]
                read.append(layer.output_norm.weight * o / (o.square().mean() + 1e-5).sqrt())
            gate = F.silu(layer.gate.weight[0] @ x[b, token] + layer.gate.bias[0])
            out[b, token] = x[b, token] + layer.proj.weight @ torch.cat(read) * gate
    return out


@pytest.mark.parametrize("pre_norm", [True, False])
def test_a_window_reads_before_it_writes(pre_norm):
    """The output comes from the weights that came in, whatever this window teaches them."""
    layer = opened_layer(pre_norm=pre_norm)
    x = draw(2, 7, 12, dtype=torch.float32)
    with torch.no_grad():
        out, learned = layer(x, None)
        assert torch.allclose(out, slow_layer(layer, x, layer.initial_weights(2)), atol=1e-5)
        again, _ = layer(x, learned)
        assert torch.allclose(again, slow_layer(layer, x, learned), atol=1e-5)
    assert distance(again, out) > 1e-3


def test_a_last_window_reads_and_learns_nothing(monkeypatch):
    """Its update is not even computed; what it gives is the same to the bit."""
    layer = opened_layer()
    x = draw(2, 7, 12, dtype=torch.float32)
    with torch.no_grad():
        _, weights = layer(x, None)
        wanted, _ = layer(x, weights)
        monkeypatch.setattr(layer.update, "forward", None)
        found, kept = layer(x, weights, learns=False)
    assert torch.equal(found, wanted)
    assert kept is weights


def test_learning_rates_start_at_a_hundredth():
    layer = opened_layer()
    torch.nn.init.zeros_(layer.to_rates.weight)
    torch.nn.init.zeros_(layer.to_rates.bias)
    for rates in layer._rates(torch.randn(2, 7, 12)):
        assert rates.shape == (2, 3, 7, 1)
        assert torch.allclose(rates, torch.tensor(0.01))


def test_learning_rates_are_ordered_by_weight_and_head():
    layer = opened_layer()
    torch.nn.init.zeros_(layer.to_rates.weight)
    layer.to_rates.bias.data.copy_(torch.arange(9.0))
    wanted = F.softplus(torch.arange(9.0) - 4.600165).view(3, 3)
    rates = torch.stack(list(layer._rates(torch.randn(1, 1, 12))))[:, 0, :, 0, 0]  # (weight, head)
    assert torch.allclose(rates, wanted, atol=1e-5)


def test_a_layer_trains_through_its_own_update():
    """The second window's output has a gradient on what the first one taught."""
    layer = opened_layer()
    first, second = draw(1, 7, 12, dtype=torch.float32), draw(1, 7, 12, dtype=torch.float32, seed=1)
    _, learned = layer(first, None)
    out, _ = layer(second, learned)
    out.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("iteration", "most", "least"), [("float32", 1e-5, 0.0), ("bfloat16", 1e-2, 1e-4)])
def test_how_far_input_noise_moves_a_camera(iteration, most, least):
    """2e-7 of noise moves no camera in float32; in bfloat16 the iteration amplifies its rounding, as published."""
    network = toy_network(newton_schulz=iteration)
    images = expected_tensors()["images"][None]
    noisy = images * (1 + 2e-7 * draw(*images.shape, dtype=torch.float32))
    clean, _ = chain(network, images)
    moved, _ = chain(network, noisy)
    far = max(distance(a.world_from_cam, b.world_from_cam) for a, b in zip(moved, clean, strict=True))
    assert least <= far <= most


@pytest.mark.parametrize(("asked", "around", "wanted"), [
    ("auto", torch.float32, torch.float32),
    ("auto", torch.float16, torch.float32),
    ("auto", torch.bfloat16, torch.bfloat16),
    ("bfloat16", torch.float32, torch.bfloat16),
    ("float32", torch.bfloat16, torch.float32),
])  # fmt: skip
def test_the_precision_of_the_iteration(asked, around, wanted):
    assert opened_layer(newton_schulz=asked).update._iteration_dtype(torch.empty(0, dtype=around)) == wanted


def test_a_smeared_key_finds_a_value_by_the_token_before_it():
    """With α = −∞ the key of a token is that of the token before it; with α = ∞ it is its own."""
    torch.manual_seed(0)
    layer = TestTimeTraining(16, head_dim=16, expansion=2, gate_bias=1.0, smeared_keys=True)
    plain = TestTimeTraining(16, head_dim=16, expansion=2, gate_bias=1.0)
    plain.load_state_dict(layer.state_dict(), strict=False)
    x = torch.randn(1, 6, 16)
    with torch.no_grad():
        assert torch.equal(layer.to_qkv.weight[:16], layer.to_qkv.weight[16:32])
        layer.smear.fill_(-torch.inf)
        normed = layer.pre_norm(x)
        shifted, own = (torch.stack(one._projected(normed), dim=2) for one in (layer, plain))
        assert torch.equal(shifted[:, 1:, 1], own[:, :-1, 1])
        assert not shifted[:, 0, 1].any()
        assert torch.equal(shifted[:, :, [0, 2]], own[:, :, [0, 2]])
        layer.smear.fill_(torch.inf)
        assert torch.equal(layer(x, None)[0], plain(x, None)[0])
        layer.smear.fill_(0.0)
        assert not torch.allclose(layer(x, None)[1].w1, plain(x, None)[1].w1, atol=1e-3)
