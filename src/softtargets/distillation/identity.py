"""What a cache was made by and of: hashes of a teacher and of data."""

import ctypes
import dataclasses
import hashlib
import io
import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

# What differs between two runs of one program, or between two devices.
_PASSING = re.compile(r" at 0x[0-9a-fA-F]+|,? ?\bdevice='?[\w:]+'?")


class Digest:
    """A SHA-256 that takes tensors and whatever state holds, each by its content."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def text(self, text: str) -> None:
        """Take a text in."""
        self._sha.update(f"{len(text)}:{text};".encode())

    def tensor(self, value: Tensor) -> None:
        """Take a tensor in: dtype, shape, and the bytes in the order of the shape."""
        value = value.detach()
        self.text(f"{value.dtype}{tuple(value.shape)}{value.layout}")
        if hasattr(value, "__tensor_flatten__"):
            names, how = value.__tensor_flatten__()
            self.any([(name, getattr(value, name)) for name in names])
            self.any(how)
            return
        if value.layout != torch.strided:
            value = value.to_dense()
        # The copy is held by a name until its memory has been read.
        whole = value.cpu().resolve_conj().resolve_neg().contiguous()
        self._sha.update(bytes_of(whole))

    def any(self, value: object) -> None:
        """Take in a value of any kind; one without a known content by its `repr`."""
        if isinstance(value, Tensor):
            self.tensor(value)
        elif isinstance(value, Mapping):
            self.text(f"map of {len(value)}")
            for key in sorted(value, key=repr):
                self.any(key)
                self.any(value[key])
        elif isinstance(value, list | tuple):
            self.text(f"{type(value).__name__} of {len(value)}")
            for part in value:
                self.any(part)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            self.text(type(value).__name__)
            for field in dataclasses.fields(value):
                self.any((field.name, getattr(value, field.name)))
        elif isinstance(value, io.BytesIO):
            self.any(value.getvalue())
        elif isinstance(value, bytes | bytearray):
            self.text(f"{len(value)} bytes")
            self._sha.update(value)
        elif isinstance(value, set | frozenset):
            self.any(sorted(value, key=repr))
        elif hasattr(value, "__array__") and hasattr(value, "tobytes"):
            # NumPy's `repr` leaves the middle of large arrays out.
            self.text(f"{getattr(value, 'dtype', '')}{getattr(value, 'shape', '')}")
            self.any(value.tobytes())
        else:
            self.text(f"{type(value).__name__} {_PASSING.sub('', repr(value))}")

    def hexdigest(self) -> str:
        """Return the hash."""
        return self._sha.hexdigest()


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor, which the caller keeps alive while it is read.

    torch alone has no buffer protocol.
    """
    size = tensor.numel() * tensor.element_size()
    if not size:
        return memoryview(b"")
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr())).cast("B")


def teacher_hash(teacher: nn.Module) -> str:
    """Return a hash of a module's structure and state.

    The structure is what `repr` shows: the modules' names, classes and arguments; the state is
    dtype, shape and bytes of every tensor and the extra state. Wrappers of torch.compile and data
    parallel training leave no trace, nor do the device, the memory format and the training mode.

    It cannot see what is neither: the code of `forward`, attributes that are not in the state
    (a scale as a plain number), buffers with `persistent=False`, hooks, and what `repr` leaves out.
    """
    if not isinstance(teacher, nn.Module):
        raise TypeError(
            f"`teacher` must be a torch.nn.Module, whose state can be hashed, got "
            f"{type(teacher).__name__}; put the function into the `forward` of a module"
        )
    digest = Digest()
    teacher = _unwrapped(teacher)
    for line in _structure(teacher, ""):
        digest.text(line)
    state = {name.replace("_orig_mod.", ""): value for name, value in teacher.state_dict().items()}
    for name in sorted(state):
        digest.text(name)
        digest.any(state[name])
    return digest.hexdigest()


def data_hash(fingerprint: str | Tensor) -> str:
    """Return the fingerprint as it will be compared: a text as it is, a tensor's hash."""
    if isinstance(fingerprint, Tensor):
        digest = Digest()
        digest.tensor(fingerprint)
        return digest.hexdigest()
    if not isinstance(fingerprint, str) or not fingerprint:
        raise TypeError(
            "`data_fingerprint` must be a text that names the data and its version, or a tensor "
            f"to hash, the labels for instance, got {fingerprint!r}"
        )
    return fingerprint


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside the wrappers of torch.compile and of data parallel training."""
    while True:
        inner = module._modules.get("_orig_mod")
        if isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = module.module
        if inner is None:
            return module
        module = inner


def _structure(module: nn.Module, name: str) -> Iterator[str]:
    module = _unwrapped(module)
    yield f"{name} {_name(module)}({_PASSING.sub('', module.extra_repr())})"
    for child_name, child in module.named_children():
        yield from _structure(child, f"{name}.{child_name}")


def _name(module: nn.Module) -> str:
    # What `repr` prints: parametrized modules have their own.
    return str(module._get_name())  # type: ignore[no-untyped-call]
