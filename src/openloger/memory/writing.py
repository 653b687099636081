"""How much a sequence writes into the fast weights, for a cost in training that keeps old memories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn

from openloger.memory.ttt import FastWeightUpdate, LearningRates
from openloger.shapes import Tensor


@contextmanager
def written(model: nn.Module) -> Iterator[list[Tensor]]:
    """While it lasts, collects how much each chunk writes, of every `TestTimeTraining` in a model and in its order.

    One (3, batch, head, 1, 1) tensor for each update: the mean learning rate of the chunk for each of the three
    weights, in units of the initial one, by which `scaled_steps` shortens the step. It carries a gradient.
    Added to the loss of a task, its mean teaches a model to write only what is asked for later; without such a cost
    each chunk of noise writes a little, and many of them together wipe out what was learned before.

    Example:
        >>> with written(model) as amounts:
        ...     y, _ = model(x)
        >>> loss = task_loss(y) + 0.1 * torch.stack(amounts).mean()
    """
    amounts: list[Tensor] = []
    updates = [module for module in model.modules() if isinstance(module, FastWeightUpdate)]
    hooks = [update.register_forward_pre_hook(partial(_collect, amounts)) for update in updates]
    try:
        yield amounts
    finally:
        for hook in hooks:
            hook.remove()


def _collect(amounts: list[Tensor], update: nn.Module, given: tuple[object, ...]) -> None:
    assert isinstance(update, FastWeightUpdate)
    _, _, _, rates, tokens, _ = given
    assert isinstance(rates, LearningRates)
    assert tokens is None or isinstance(tokens, Tensor)
    amounts.append(update.amount(rates, tokens))
