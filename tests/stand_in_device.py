"""A stand-in for Apple's MPS on any machine: tensors that say they are on "mps", and refuse what MPS refuses.

They compute on the CPU. As on MPS, float64 cannot be made or held there, and operations do not mix them with tensors of
the CPU, save for single numbers and for indices.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

MPS = torch.device("meta")  # the one device of every build that is not the CPU
_MOVES = {"aten::_to_copy", "aten::to", "aten::copy_"}
_INDEXED = {"aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"}


class MpsTensor(Tensor):
    """On another device than the CPU, as far as anyone can tell; `held` is on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> MpsTensor:
        if held.dtype in (torch.float64, torch.complex128):
            raise TypeError("MPS does not support float64")
        return Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=MPS,
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})

    def new_tensor(self, data: Any, *, dtype: torch.dtype | None = None, **_: object) -> Tensor:  # type: ignore[override]
        return torch.tensor(data, dtype=dtype or self.dtype).to(MPS)  # C++ would make it past `__torch_dispatch__`

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self, **_: object) -> str:  # type: ignore[override]
        return f"MpsTensor({self.held!r})"


class _Mps(TorchDispatchMode):
    """Catches what is made on the device without a tensor of it: torch.zeros(…, device="mps")."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


def _dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    tensors = [one for one in flat if isinstance(one, Tensor)]
    ours = [one for one in tensors if isinstance(one, MpsTensor)]
    asked = next((one for one in flat if isinstance(one, torch.device)), None)
    goes = asked == MPS if asked is not None else bool(ours)
    if ours and func._schema.name not in (_MOVES | _INDEXED):
        strangers = [one for one in tensors if not isinstance(one, MpsTensor) and one.ndim > 0]
        assert not strangers, f"{func}: tensors of {MPS} and of the CPU {[tuple(one.shape) for one in strangers]}"
    if func is torch.ops.aten.copy_.default:
        goes = isinstance(args[0], MpsTensor)
    given_args, given = tree_map(_held, (args, kwargs))
    result = func(*given_args, **given)
    if not goes:
        return result
    known = {id(one.held): one for one in ours}  # what is changed in place stays itself
    inference = torch.is_inference_mode_enabled() and all(one.is_inference() for one in ours)
    with torch.inference_mode(inference):
        return tree_map(lambda one: known.get(id(one), MpsTensor(one)) if isinstance(one, Tensor) else one, result)


def _making(make: Any) -> Any:
    """`torch.tensor`, which makes its result past every mode."""

    def tensor(data: Any, *, device: Any = None, **named: Any) -> Tensor:
        made = make(data, **named)
        return made if device is None else made.to(device)

    return tensor


def _held(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.held if isinstance(value, MpsTensor) else value


@contextmanager
def on_mps(network: nn.Module) -> Iterator[None]:
    """Meanwhile the network's parameters are on the device that is stood in for."""
    places = [(module, name) for module in network.modules() for name in (*module._parameters, *module._buffers)]
    before = {(module, name): getattr(module, name) for module, name in places}
    for (module, name), tensor in before.items():
        if tensor is None:
            continue
        moved = MpsTensor(tensor.detach())
        if name in module._parameters:
            module._parameters[name] = nn.Parameter(moved, requires_grad=False)
        else:
            module._buffers[name] = moved
    autocast, make = torch.autocast, torch.tensor
    torch.tensor = _making(make)  # type: ignore[assignment]
    torch.autocast = lambda kind, **named: autocast("cpu" if kind == MPS.type else kind, **named)  # type: ignore
    try:
        with _Mps():
            yield
    finally:
        torch.autocast, torch.tensor = autocast, make  # type: ignore[misc]
        for (module, name), tensor in before.items():
            (module._parameters if name in module._parameters else module._buffers)[name] = tensor
