"""Building: more samples later, one process at a time, arguments, damaged manifests."""

import json
import os
import pickle
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import softtargets as st
from softtargets.distillation import locking

N, D, K = 30, 4, 5
DATA = "30 rows"


@pytest.fixture
def teacher():
    return nn.Linear(D, K)


@pytest.fixture
def inputs():
    return torch.randn(N, D)


def batches(inputs, numbers, size=8):
    for chosen in torch.as_tensor(numbers).split(size):
        yield inputs[chosen], chosen


def build(path, teacher, inputs, numbers=range(N), **keywords):
    keywords = {"data_fingerprint": DATA, "dtype": torch.float32, "chunk_rows": 10, **keywords}
    return st.TeacherCache.build(path, teacher, batches(inputs, list(numbers)), K, **keywords)


def expected(teacher, inputs):
    with torch.no_grad():
        return torch.softmax(teacher(inputs), -1)


class TestMoreSamples:
    def test_a_finished_cache_is_extended(self, tmp_path, teacher, inputs):
        assert len(build(tmp_path, teacher, inputs, range(12))) == 12
        asked = []
        teacher.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
        cache = build(tmp_path, teacher, inputs)
        assert len(cache) == N
        assert sum(asked) == N - 8
        probs = torch.softmax(cache[torch.arange(N)], -1)
        torch.testing.assert_close(probs, expected(teacher, inputs))
        st.TeacherCache(tmp_path, data_fingerprint=DATA).require(torch.arange(N))

    def test_nothing_is_written_where_nothing_is_missing(self, tmp_path, teacher, inputs):
        build(tmp_path, teacher, inputs)
        before = (tmp_path / "manifest.json").stat().st_mtime_ns
        assert len(build(tmp_path, teacher, inputs, range(3))) == N
        assert (tmp_path / "manifest.json").stat().st_mtime_ns == before

    def test_an_interrupted_extension_is_continued(self, tmp_path, teacher, inputs):
        build(tmp_path, teacher, inputs, range(5))
        broken = inputs.clone()
        broken[28] = torch.nan
        with pytest.raises(ValueError, match="sample 28 does"):
            build(tmp_path, teacher, broken)
        with pytest.raises(ValueError, match=r"finished cache, .* one of 15 samples so far"):
            st.TeacherCache(tmp_path, data_fingerprint=DATA)
        assert len(build(tmp_path, teacher, inputs)) == N

    def test_a_damaged_cache_is_not_extended(self, tmp_path, teacher, inputs):
        build(tmp_path, teacher, inputs, range(12))
        path = tmp_path / "chunk-000000.bin"
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"has the hash .* another folder"):
            build(tmp_path, teacher, inputs)


class TestOneAtATime:
    def test_a_second_builder_is_told_what_to_do(self, tmp_path, teacher, inputs):
        def nested():
            with pytest.raises(RuntimeError, match=r"one process at a time, .* rank 0 alone"):
                build(tmp_path, teacher, inputs)
            yield inputs[:3], torch.arange(3)

        keywords = {"data_fingerprint": DATA, "dtype": torch.float32}
        assert len(st.TeacherCache.build(tmp_path, teacher, nested(), K, **keywords)) == 3
        assert len(build(tmp_path, teacher, inputs)) == N

    @pytest.mark.skipif(locking.fcntl is None, reason="no locks that go with the process")
    def test_a_killed_builder_blocks_nobody(self, tmp_path, teacher, inputs):
        folder = tmp_path / "cache"
        script = f"""
import time, torch, softtargets as st
def batches():
    print("building", flush=True)
    time.sleep(60)
    yield None
st.TeacherCache.build({str(folder)!r}, torch.nn.Linear({D}, {K}), batches(), {K},
                      data_fingerprint={DATA!r})
"""
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout.readline() == "building\n"
            with pytest.raises(RuntimeError, match="one process at a time"):
                build(folder, teacher, inputs)
            os.kill(other.pid, signal.SIGKILL)
        # The lock is gone: what is left to say is that the teachers differ.
        with pytest.raises(ValueError, match="must be what the cache in"):
            build(folder, teacher, inputs)

    @pytest.mark.parametrize("how", ["no fcntl", "no locks"])
    def test_where_the_system_has_no_locks(self, tmp_path, teacher, inputs, monkeypatch, how):
        def refuse(*_):
            raise OSError("not supported")

        lockless = SimpleNamespace(flock=refuse, LOCK_EX=0, LOCK_NB=0)
        monkeypatch.setattr(locking, "fcntl", None if how == "no fcntl" else lockless)
        mark = tmp_path / locking.MARK
        mark.touch()
        with pytest.raises(RuntimeError, match=r"rank 0 alone.*building.mark behind: delete it"):
            build(tmp_path, teacher, inputs)
        mark.unlink()
        assert len(build(tmp_path, teacher, inputs)) == N
        assert not mark.exists()


class TestArguments:
    @pytest.mark.parametrize("name", ["chunk_rows", "top_k"])
    @pytest.mark.parametrize("value", [0, -1, 5.0, True, "3"])
    def test_counts(self, tmp_path, teacher, inputs, name, value):
        kind = ValueError if type(value) is int else TypeError
        with pytest.raises(kind, match=f"`{name}` must be a positive integer, got {value!r}; "):
            build(tmp_path, teacher, inputs, **{name: value})
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("index", "message"),
        [
            ([0, -1], r"sample numbers >= 0, got -1; number the samples"),
            ([1, 1], r"distinct within a batch, got 1 more than once; count samples"),
            ([[0, 1]], r"shape \(n,\), one number per sample, got \(1, 2\)"),
            (1, r"shape \(n,\), one number per sample, got \(\)"),
        ],
    )
    def test_sample_numbers(self, tmp_path, teacher, inputs, index, message):
        batch = inputs[:2], torch.tensor(index)
        with pytest.raises(ValueError, match=f"`index` must (hold|be|have) {message}"):
            st.TeacherCache.build(tmp_path, teacher, [batch], K, data_fingerprint=DATA)
        assert not list(tmp_path.glob("*.bin"))

    def test_no_samples(self, tmp_path, teacher, inputs):
        def again():
            return st.TeacherCache.build(
                tmp_path, teacher, iter(()), K, data_fingerprint=DATA, dtype=torch.float32
            )

        with pytest.raises(ValueError, match=r"`batches` must yield .* make a new one"):
            again()
        broken = inputs.clone()
        broken[28] = torch.nan
        with pytest.raises(ValueError, match="sample 28 does"):
            build(tmp_path, teacher, broken)
        # An exhausted iterator must not pass for the rest of an interrupted build.
        with pytest.raises(ValueError, match=r"`batches` must yield"):
            again()
        assert len(build(tmp_path, teacher, inputs)) == N
        assert len(again()) == N

    def test_a_file_is_no_folder(self, tmp_path, teacher, inputs):
        path = tmp_path / "file"
        path.write_text("precious")
        for wrong in (path, path / "cache"):
            with pytest.raises(ValueError, match=r"`path` must be a folder, .* is a file or lies"):
                build(wrong, teacher, inputs)
        assert path.read_text() == "precious"

    def test_a_teacher_that_returns_no_tensor(self, tmp_path, teacher, inputs):
        class Pair(nn.Module):
            def forward(self, rows):
                return rows, rows

        with pytest.raises(TypeError, match=r"got tuple; wrap the teacher in a module"):
            build(tmp_path, Pair(), inputs)


DAMAGED = {
    "null": lambda content: None,
    "list": lambda content: [content],
    "dtype": lambda content: content | {"dtype": "float8"},
    "no tensor": lambda content: content | {"dtype": "nn"},
    "num_classes": lambda content: content | {"num_classes": "5"},
    "top_k": lambda content: content | {"top_k": K + 1},
    "finished": lambda content: content | {"finished": "yes"},
    "chunks": lambda content: content | {"chunks": None},
    "rows": lambda content: content | {"chunks": [content["chunks"][0] | {"rows": -1}]},
    "file": lambda content: content | {"chunks": [content["chunks"][0] | {"file": "../x"}]},
    "field": lambda content: content | {"colour": "red"},
    "missing": lambda content: {name: content[name] for name in content if name != "data"},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_manifest(tmp_path, teacher, inputs, kind):
    build(tmp_path, teacher, inputs)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(DAMAGED[kind](json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=r"is damaged .* another folder"):
        st.TeacherCache(tmp_path, data_fingerprint=DATA)


def test_batches_are_pairs(tmp_path, teacher, inputs):
    labelled = [(inputs, torch.arange(N) % K, torch.arange(N))]
    for wrong, got in ((labelled, "tuple of 3"), ([inputs[:2]], "Tensor")):
        with pytest.raises(TypeError, match=rf"pairs `\(inputs, index\)`, got a {got}; leave the"):
            st.TeacherCache.build(tmp_path, teacher, wrong, K, data_fingerprint=DATA)


def test_pickles_are_small_and_know_the_folder(tmp_path, teacher, inputs, monkeypatch):
    labels = torch.randint(K, (100_000,))
    monkeypatch.chdir(tmp_path)
    cache = build("cache", teacher, inputs, data_fingerprint=labels)
    text = pickle.dumps(cache)
    assert len(text) < 1000
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert torch.equal(pickle.loads(text)[torch.arange(N)], cache[torch.arange(N)])


@pytest.mark.parametrize("top_k", [None, 2])
def test_rows_come_in_the_order_of_the_index(tmp_path, teacher, inputs, top_k):
    cache = build(tmp_path, teacher, inputs, torch.randperm(N), chunk_rows=1, top_k=top_k)
    index = torch.randint(N, (4, 50))
    one_by_one = torch.stack([cache[number] for number in index.flatten()])
    assert torch.equal(cache[index], one_by_one.view(4, 50, K))
    assert cache[torch.zeros(0, 3, dtype=torch.long)].shape == (0, 3, K)
    assert cache[torch.tensor(7)].shape == (K,)
