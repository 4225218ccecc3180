"""The teacher cache: what it returns, that it survives being killed, what it refuses."""

import json
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

import softtargets as st

N, D, K = 37, 6, 11
DATA = "37 rows, first version"


class Counting(nn.Module):
    """A linear teacher that counts its calls and must be in eval mode."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D, K)
        self.drop = nn.Dropout(0.5)
        self.calls = 0

    def forward(self, inputs):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.calls += 1
        return 5 * self.drop(self.layer(inputs))


@pytest.fixture
def teacher():
    return Counting()


@pytest.fixture
def inputs():
    return torch.randn(N, D)


def batches(inputs, numbers=None, size=8):
    numbers = torch.randperm(N) if numbers is None else numbers
    for start in range(0, len(numbers), size):
        chosen = numbers[start : start + size]
        yield inputs[chosen], chosen


def answers(teacher, inputs):
    with torch.no_grad():
        return teacher.eval()(inputs)


def build(path, teacher, inputs, **keywords):
    keywords = {"data_fingerprint": DATA, "dtype": torch.float32, "chunk_rows": 10, **keywords}
    numbers = keywords.pop("numbers", None)
    return st.TeacherCache.build(path, teacher, batches(inputs, numbers), K, **keywords)


class TestLookup:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    def test_logits_by_sample_number(self, tmp_path, teacher, inputs, dtype):
        cache = build(tmp_path, teacher, inputs, dtype=dtype)
        assert teacher.training
        assert (len(cache), cache.num_classes, cache.top_k) == (N, K, None)
        index = torch.randint(N, (3, 7))
        expected = answers(teacher, inputs)
        expected = (expected - expected.amax(-1, keepdim=True))[index]
        tolerance = 1e-6 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(cache[index], expected, rtol=1e-3, atol=tolerance)
        assert cache[index].dtype == torch.float32
        probs = torch.softmax(expected / 3, -1)
        rows = cache.target(index, temperature=3.0).dense()
        torch.testing.assert_close(rows, probs, rtol=0, atol=tolerance / 3)
        cache.require(torch.arange(N))
        assert f"samples={N}" in repr(cache)

    def test_top_k(self, tmp_path, teacher, inputs):
        cache = build(tmp_path, teacher, inputs, top_k=3)
        index = torch.arange(N)
        probs = torch.softmax(answers(teacher, inputs), -1)
        weights, classes = probs.topk(3)
        target = st.Target.from_top_k(classes, weights, K)
        torch.testing.assert_close(cache.target(index).dense(), target.dense())
        torch.testing.assert_close(torch.softmax(cache[index], -1), target.dense())
        assert cache.target(index).smoothed
        warm = torch.softmax(cache[index] / 4, -1)
        torch.testing.assert_close(cache.target(index, 4.0).dense(), warm)

    def test_all_k_are_exact(self, tmp_path, teacher, inputs):
        cache = build(tmp_path, teacher, inputs, top_k=K)
        probs = torch.softmax(answers(teacher, inputs) / 2, -1)
        torch.testing.assert_close(cache.target(torch.arange(N), 2.0).dense(), probs)
        torch.testing.assert_close(torch.softmax(cache[torch.arange(N)] / 2, -1), probs)

    def test_half_precision_of_large_logits(self, tmp_path, inputs):
        logits = torch.zeros(N, K)
        logits[:, 0], logits[:, 1], logits[:, 2] = 1e6, 1e6 - 2, -torch.inf
        logits[:, 3] = -1e6

        class Large(nn.Module):
            def forward(self, rows):
                return logits[: len(rows)]

        cache = build(tmp_path, Large(), inputs, dtype=torch.float16)
        expected = torch.softmax(logits[0], -1)
        torch.testing.assert_close(torch.softmax(cache[torch.tensor(4)], -1), expected)
        assert cache[torch.tensor(4)][2] == -torch.inf
        assert cache[torch.tensor(4)][3].isfinite()

    def test_it_equals_the_teacher_in_training(self, tmp_path, teacher, inputs):
        cache = build(tmp_path, teacher, inputs)
        index, labels = torch.randperm(N)[:9], torch.randint(K, (9,))
        logits, direct = torch.randn(9, K), answers(teacher, inputs)[index]
        ils2 = st.CrossEntropyLoss(st.InstanceLabelSmoothing(0.2, "teacher", temperature=2.0))
        kd = st.DistillationLoss(4.0, 0.3)
        for criterion in (ils2, kd):
            expected = criterion(logits, labels, teacher_logits=direct)
            torch.testing.assert_close(
                criterion(logits, labels, teacher_logits=cache[index]), expected
            )
        torch.testing.assert_close(
            kd(logits, labels, teacher_logits=cache.target(index, 4.0)), expected
        )

    @pytest.mark.parametrize("top_k", [None, 3])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_autocast_changes_nothing(self, tmp_path, inputs, dtype, top_k):
        teacher, index = nn.Identity(), torch.tensor([30, 2, 11])
        logits = torch.randn(N, K)

        def read(folder):
            keywords = {"dtype": torch.float16, "top_k": top_k}
            cache = build(tmp_path / folder, teacher, logits, **keywords)
            criterion = st.DistillationLoss(2.0, teacher=cache)
            losses = criterion(logits[index].flip(-1), torch.tensor([0, 1, 2]), index=index)
            return cache[index], cache.target(index, 2.0).dense(), losses

        expected = read("plain")
        with torch.autocast("cpu", dtype):
            actual = read("autocast")
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)

    def test_it_is_mapped_and_not_read(self, tmp_path):
        class Wide(nn.Module):
            def forward(self, rows):
                return torch.zeros(len(rows), 50_000)

        numbers = torch.arange(1000)
        parts = [(numbers[i : i + 100], numbers[i : i + 100]) for i in range(0, 1000, 100)]
        st.TeacherCache.build(
            tmp_path, Wide(), parts, 50_000, data_fingerprint=DATA, dtype=torch.float32
        )
        script = f"""
import resource, torch, softtargets as st
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cache = st.TeacherCache({str(tmp_path)!r}, data_fingerprint={DATA!r}, verify=False)
assert cache[torch.tensor([3, 999])].shape == (2, 50_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
        grown = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 190e6
        assert int(grown.stdout) < 60_000

    def test_pickled_it_opens_the_files_again(self, tmp_path, teacher, inputs):
        cache = build(tmp_path, teacher, inputs)
        text = pickle.dumps(cache)
        assert len(text) < 1000
        assert torch.equal(pickle.loads(text)[torch.arange(N)], cache[torch.arange(N)])


class TestInterruption:
    def test_a_killed_build_is_continued(self, tmp_path, inputs):
        torch.manual_seed(1)
        teacher = nn.Linear(D, K)
        state = tmp_path / "state.pt"
        torch.save((teacher.state_dict(), inputs), state)
        folder = tmp_path / "cache"
        script = f"""
import os, torch, softtargets as st
state, inputs = torch.load({str(state)!r})
teacher = torch.nn.Linear({D}, {K})
teacher.load_state_dict(state)
def batches():
    for start in range(0, {N}, 5):
        if start == 25:
            os._exit(9)
        yield inputs[start:start + 5], torch.arange({N})[start:start + 5]
st.TeacherCache.build({str(folder)!r}, teacher, batches(), {K}, data_fingerprint={DATA!r},
                      dtype=torch.float32, chunk_rows=10)
"""
        died = subprocess.run([sys.executable, "-c", script], check=False)
        assert died.returncode == 9
        with pytest.raises(ValueError, match=r"finished cache, .* one of 20 samples so far"):
            st.TeacherCache(folder, data_fingerprint=DATA)
        # As if it had died while writing a chunk and a manifest.
        (folder / "chunk-000002.bin.part").write_bytes(b"half a chunk")
        (folder / "chunk-000002.bin").write_bytes(b"written but not in the manifest")
        (folder / "manifest.json.part").write_bytes(b"{")
        asked = []
        teacher.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
        cache = build(folder, teacher, inputs, numbers=torch.arange(N))
        assert sum(asked) <= N - 16
        expected = answers(teacher, inputs)
        torch.testing.assert_close(
            cache[torch.arange(N)], expected - expected.amax(-1, keepdim=True)
        )

    def test_a_finished_cache_asks_no_teacher(self, tmp_path, teacher, inputs):
        build(tmp_path, teacher, inputs)
        calls = teacher.calls
        assert len(build(tmp_path, teacher, inputs)) == N
        assert teacher.calls == calls

    def test_repeated_samples_count_once(self, tmp_path, teacher, inputs):
        numbers = torch.cat([torch.arange(N), torch.tensor([3, 0]), torch.arange(4, 9)])
        assert len(build(tmp_path, teacher, inputs, numbers=numbers)) == N

    def test_nothing_is_built_of_bad_answers(self, tmp_path, teacher, inputs):
        broken = inputs.clone()
        broken[30] = torch.nan
        numbers = torch.arange(N)
        with pytest.raises(ValueError, match=r"must hold no NaN or inf .*, sample 30 does"):
            build(tmp_path, teacher, broken, numbers=numbers)
        assert teacher.training
        assert len(build(tmp_path, teacher, inputs, numbers=numbers)) == N


class TestErrors:
    def test_another_teacher(self, tmp_path, teacher, inputs):
        build(tmp_path, teacher, inputs)
        st.TeacherCache(tmp_path, data_fingerprint=DATA, teacher=teacher)
        with torch.no_grad():
            teacher.layer.bias[0] += 1e-6
        with pytest.raises(ValueError, match="`teacher` must be what the cache in"):
            st.TeacherCache(tmp_path, data_fingerprint=DATA, teacher=teacher)
        with pytest.raises(ValueError, match="`teacher` must be what the cache in"):
            build(tmp_path, teacher, inputs)

    def test_other_data(self, tmp_path, teacher, inputs):
        labels = torch.randint(K, (N,))
        build(tmp_path, teacher, inputs, data_fingerprint=labels)
        st.TeacherCache(tmp_path, data_fingerprint=labels.clone())
        with pytest.raises(ValueError, match=r"`data_fingerprint` must be what .* another folder"):
            st.TeacherCache(tmp_path, data_fingerprint=labels.roll(1))
        with pytest.raises(TypeError, match="`data_fingerprint` must be a text"):
            st.TeacherCache(tmp_path, data_fingerprint=None)

    def test_other_settings(self, tmp_path, teacher, inputs):
        build(tmp_path, teacher, inputs)
        with pytest.raises(ValueError, match=r"`top_k` must be what .* 'None', got '2'"):
            build(tmp_path, teacher, inputs, top_k=2)
        with pytest.raises(ValueError, match=r"`dtype` must be what"):
            build(tmp_path, teacher, inputs, dtype=torch.float16)

    def test_missing_samples(self, tmp_path, teacher, inputs):
        cache = build(tmp_path, teacher, inputs, numbers=torch.arange(20))
        with pytest.raises(ValueError, match="17 of 37 are not, the first is 20"):
            cache.require(torch.arange(N))
        with pytest.raises(ValueError, match="1 of 2 are not, the first is -1"):
            cache[torch.tensor([3, -1])]
        with pytest.raises(TypeError, match="`index` must hold integers"):
            cache[torch.tensor([0.5])]

    @pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
    def test_damaged_files(self, tmp_path, teacher, inputs, damage):
        build(tmp_path, teacher, inputs)
        path = tmp_path / "chunk-000001.bin"
        content = bytearray(path.read_bytes())
        content[200] ^= 1
        if damage == "remove":
            path.unlink()
        else:
            path.write_bytes(content if damage == "flip" else content[:-8])
        message = {
            "flip": "has the hash",
            "cut": "has 512 bytes instead of",
            "remove": "is missing",
        }
        with pytest.raises(ValueError, match=f"chunk-000001.bin {message[damage]}"):
            st.TeacherCache(tmp_path, data_fingerprint=DATA)

    def test_a_damaged_manifest(self, tmp_path, teacher, inputs):
        build(tmp_path, teacher, inputs)
        path = tmp_path / "manifest.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"format": 99}))
        with pytest.raises(ValueError, match="a cache of format 1"):
            st.TeacherCache(tmp_path, data_fingerprint=DATA)
        path.write_text("{")
        with pytest.raises(ValueError, match="is damaged"):
            st.TeacherCache(tmp_path, data_fingerprint=DATA)

    def test_nothing_there_or_something_else(self, tmp_path, teacher, inputs):
        with pytest.raises(ValueError, match=r"finished cache, .* has none"):
            st.TeacherCache(tmp_path / "nowhere", data_fingerprint=DATA)
        (tmp_path / "thesis.tex").write_text("precious")
        with pytest.raises(ValueError, match="`path` must be an empty folder or a cache"):
            build(tmp_path, teacher, inputs)

    def test_arguments(self, tmp_path, teacher, inputs):
        with pytest.raises(TypeError, match=r"`teacher` must be a torch.nn.Module"):
            build(tmp_path, lambda x: x, inputs)
        with pytest.raises(ValueError, match=r"`dtype` must be torch.float16 or torch.float32"):
            build(tmp_path, teacher, inputs, dtype=torch.bfloat16)
        with pytest.raises(ValueError, match=r"`top_k` must be in 1 \.\. 11 or None, got 12"):
            build(tmp_path, teacher, inputs, top_k=12)
        with pytest.raises(ValueError, match=r"must have shape \(8, 11\) .* got \(8, 11, 1\)"):
            build(tmp_path, nn.Sequential(teacher, nn.Unflatten(1, (K, 1))), inputs)
