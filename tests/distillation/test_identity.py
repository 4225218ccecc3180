"""What tells one teacher from another."""

import gc
import io
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn

from softtargets.distillation import identity
from softtargets.distillation.identity import Digest, data_hash, teacher_hash


def convolutional():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128), nn.Conv2d(128, 64, 3))


def hash_of(value):
    digest = Digest()
    digest.any(value)
    return digest.hexdigest()


class WithState(nn.Module):
    """A module whose extra state is what it is given."""

    def __init__(self, state):
        super().__init__()
        self.state = state

    def get_extra_state(self):
        return self.state

    def set_extra_state(self, state):
        self.state = state


def test_the_memory_format_leaves_no_trace():
    expected = teacher_hash(convolutional())
    strided = convolutional().to(memory_format=torch.channels_last)
    assert not strided[0].weight.is_contiguous()
    for _ in range(3):
        assert teacher_hash(strided) == expected
        gc.collect()
        # Reuses memory that was freed too early.
        torch.full_like(strided[0].weight, 7.0).contiguous()
    script = (
        "import torch\nfrom torch import nn\n"
        "from softtargets.distillation.identity import teacher_hash\n"
        "torch.manual_seed(3)\n"
        "teacher = nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128), "
        "nn.Conv2d(128, 64, 3))\n"
        "print(teacher_hash(teacher.to(memory_format=torch.channels_last)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == expected


def test_copies_are_alive_while_they_are_read(monkeypatch):
    copies = []
    plain = identity.bytes_of

    def watched(tensor):
        copies.append(weakref.ref(tensor))
        return plain(tensor)

    class Watching:
        def update(self, _):
            if copies:
                assert copies[-1]() is not None

    monkeypatch.setattr(identity, "bytes_of", watched)
    digest = Digest()
    digest._sha = Watching()
    digest.tensor(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last))
    assert len(copies) == 1


def test_the_training_mode_leaves_no_trace():
    assert teacher_hash(convolutional().eval()) == teacher_hash(convolutional())


def test_the_structure_counts():
    def of(activation):
        return teacher_hash(nn.Sequential(activation))

    assert len({of(nn.ReLU()), of(nn.Tanh()), of(nn.LeakyReLU(0.1)), of(nn.LeakyReLU(0.2))}) == 4
    one = nn.Conv2d(3, 4, 3, stride=1)
    two = nn.Conv2d(3, 4, 3, stride=2)
    two.load_state_dict(one.state_dict())
    assert teacher_hash(one) != teacher_hash(two)


def test_wrappers_leave_no_trace():
    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    expected = teacher_hash(plain)
    assert teacher_hash(torch.compile(plain, backend="eager")) == expected
    assert teacher_hash(nn.DataParallel(plain)) == expected
    assert teacher_hash(torch.compile(nn.DataParallel(plain), backend="eager")) == expected
    inside = nn.Sequential(torch.compile(plain[0], backend="eager"), plain[1], plain[2])
    assert teacher_hash(inside) == expected
    nested = nn.Module()
    nested.module = plain
    assert teacher_hash(nested) != expected


def test_extra_state_counts_by_its_content():
    large = torch.zeros(5000)
    changed = large.clone()
    changed[2500] = 1.0
    assert repr(large) == repr(changed)
    for wrap in (
        lambda tensor: tensor,
        lambda tensor: {"scales": [tensor]},
        lambda tensor: (1, tensor),
        lambda tensor: io.BytesIO(bytes(tensor.int().tolist())),
        lambda tensor: bytes(tensor.int().tolist()),
    ):
        first, again = teacher_hash(WithState(wrap(large))), teacher_hash(WithState(wrap(large)))
        assert first == again
        assert teacher_hash(WithState(wrap(changed))) != first
    assert teacher_hash(WithState(object())) == teacher_hash(WithState(object()))
    assert hash_of([1, [2]]) != hash_of([[1], 2])
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    assert hash_of({1, 2}) != hash_of({1, 3})


def test_views_and_sparse_tensors_count_by_their_content():
    values = torch.arange(6.0).reshape(2, 3)
    assert data_hash(values.T.contiguous().T) == data_hash(values)
    assert data_hash(values) != data_hash(values.T)
    assert data_hash(values) != data_hash(values.double())
    assert data_hash(torch.eye(3).to_sparse()) != data_hash((2 * torch.eye(3)).to_sparse())
    assert data_hash(torch.zeros(0)) == data_hash(torch.zeros(0))


def test_a_function_is_no_teacher():
    with pytest.raises(TypeError, match=r"`teacher` must be a torch.nn.Module.* of a module"):
        teacher_hash(lambda rows: rows)
