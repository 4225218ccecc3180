"""Online label smoothing learned by the Triton engine's forward kernel, in the interpreter."""

import pytest
import torch

import softtargets as st
from softtargets.engine import LossOptions
from softtargets.losses import cross_entropy
from softtargets.smoothing.observing import LabelObserver
from tests.engine.engine_cases import DTYPES, LAYOUTS
from tests.engine.statistics_cases import compare_statistics, learn, learned
from tests.engine.test_triton import needs_interpreter

pytestmark = needs_interpreter


@pytest.fixture(autouse=True)
def _no_other_way(monkeypatch):
    """Fail where the Triton engine computes a second softmax after all."""
    from softtargets.engine import triton

    def refuse(*_):
        raise AssertionError("the observer was shown blocks")

    monkeypatch.setattr(triton.blocks, "show", refuse)


@pytest.mark.parametrize("correct_only", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_dtype(layout, dtype, correct_only):
    _, counts = compare_statistics(dtype, layout, correct_only=correct_only)
    assert counts.sum() > 0


@pytest.mark.parametrize("correct_only", [True, False])
@pytest.mark.parametrize(("masked", "dead"), [(True, 0.0), (False, 0.3), (True, 0.3)])
@pytest.mark.parametrize("layout", ["rows", "three loops"])
def test_masked_classes(layout, masked, dead, correct_only):
    for dtype in (torch.float32, torch.float64, torch.float16):
        compare_statistics(dtype, layout, masked=masked, dead=dead, correct_only=correct_only)


@pytest.mark.parametrize("classes", [2, 16, 37])
@pytest.mark.parametrize("layout", ["rows", "strided classes", "three loops"])
def test_loops_over_blocks_of_classes(layout, classes, small_tiles):
    compare_statistics(torch.float32, layout, classes=classes, dead=0.2)
    compare_statistics(torch.float64, layout, classes=classes, masked=True, correct_only=False)


def test_more_classes_than_a_whole_tile():
    _, counts = compare_statistics(torch.float32, classes=4099, repeats=1)
    assert counts.sum() > 0


def test_bfloat16_rows_have_the_same_sums():
    compare_statistics(torch.float32, storage="bfloat16")


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_first_of_equal_logits_is_the_prediction(dtype, small, request):
    if small:
        request.getfixturevalue("small_tiles")
    logits = torch.zeros(6, 19, dtype=dtype)
    lowest = torch.finfo(dtype).min
    logits[1, [3, 17]] = 5
    logits[2, [3, 17]] = 5
    logits[3:5] = lowest / 64
    logits[5] = -torch.inf
    logits[5, 18] = lowest
    policy = st.OnlineLabelSmoothing(19)
    learn(policy, logits, torch.tensor([0, 3, 17, 0, 1, 18]))
    sums, counts = learned(policy)
    assert counts.nonzero()[:, 0].tolist() == [0, 3, 18]
    assert counts[0] == 2
    torch.testing.assert_close(sums[0], torch.full_like(sums[0], 2 / 19))
    assert sums[18].tolist() == [0] * 18 + [1]


@pytest.mark.parametrize("correct_only", [True, False])
@pytest.mark.parametrize("position", [0, 4, 8])
def test_rows_that_are_not_finite_teach_nothing(position, correct_only):
    logits = torch.randn(5, 9)
    logits[0, position] = torch.nan
    logits[1, position] = torch.inf
    logits[2] = -torch.inf
    logits[3, position] = torch.inf
    logits[3, 5] = torch.inf
    policy = st.OnlineLabelSmoothing(9, correct_only=correct_only)
    learn(policy, logits, torch.tensor([4, position, 2, 5, int(logits[4].argmax())]))
    sums, counts = learned(policy)
    assert counts.sum() == 1
    torch.testing.assert_close(sums.sum(0), logits[4].softmax(-1))


def test_a_masked_class_may_hold_anything():
    logits = torch.tensor([[torch.nan, 2.0, 1.0], [torch.inf, 1.0, 3.0]])
    policy = st.OnlineLabelSmoothing(3)
    learn(policy, logits, torch.tensor([1, 2]), class_mask=torch.tensor([False, True, True]))
    sums, counts = learned(policy)
    assert counts.tolist() == [0, 1, 1]
    torch.testing.assert_close(sums[1, 1:], torch.tensor([2.0, 1.0]).softmax(-1))


def test_large_logits_lose_nothing():
    """`exp(z - logsumexp(z))` would give 1 for both classes."""
    policy = st.OnlineLabelSmoothing(3)
    learn(policy, torch.tensor([[1e30, 1e30, -1e30]]), torch.tensor([0]))
    assert learned(policy)[0][0].tolist() == [0.5, 0.5, 0]


def test_samples_of_several_labels_teach_nothing():
    labels = torch.tensor([0, 1, 2, 2])
    logits = torch.nn.functional.one_hot(labels, 5).float() * 3
    target = st.Target.from_labels(labels, 5)
    mixed = target.mix(st.Target.from_labels(torch.tensor([0, 3, 2, 1]), 5), 0.6)
    policies = [st.OnlineLabelSmoothing(5) for _ in range(2)]
    for policy, impl in zip(policies, ("triton", "eager"), strict=True):
        learn(policy, logits, mixed, impl=impl)
    ours, theirs = map(learned, policies)
    assert ours[1].tolist() == [1, 0, 1, 0, 0]
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("correct_only", [True, False])
def test_labels_out_of_range_write_to_no_foreign_memory(correct_only):
    policy = st.OnlineLabelSmoothing(3, correct_only=correct_only)
    guard = torch.zeros(5, 3)
    policy._table.sums.local = guard[1:4]
    options = LossOptions(impl="triton", validate=False)
    logits = torch.eye(3).requires_grad_()
    target = st.Target.from_labels(torch.tensor([0, 3, 4]), 5)
    wrong = st.Target(num_classes=3, entries=target.entries)
    losses = cross_entropy(logits, wrong, smoothing=policy, reduction="none", options=options)
    assert losses.isnan().tolist() == [False, True, True]
    assert learned(policy)[1].tolist() == [1, 0, 0]
    assert bool((guard[[0, 2, 3, 4]] == 0).all())


def test_sums_follow_the_widest_samples():
    policy = st.OnlineLabelSmoothing(4)
    logits, labels = torch.eye(4), torch.arange(4)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        learn(policy, logits.to(dtype), labels)
    sums, counts = learned(policy)
    assert sums.dtype == counts.dtype == torch.float64
    torch.testing.assert_close(sums, 3 * logits.softmax(-1).double(), rtol=1e-6, atol=0)


def test_an_epoch_gives_the_matrix_of_the_eager_engine():
    logits, labels = torch.randn(12, 5), torch.randint(0, 5, (12,))
    policies = [st.OnlineLabelSmoothing(5, correct_only=False) for _ in range(2)]
    for policy, impl in zip(policies, ("triton", "eager"), strict=True):
        for _ in range(2):
            loss = learn(policy, logits, labels, impl=impl)
            policy.end_epoch()
        policy.loss = loss
    torch.testing.assert_close(policies[0].matrix, policies[1].matrix)
    torch.testing.assert_close(policies[0].loss, policies[1].loss)


class TestWhoIsServedHow:
    @pytest.fixture(autouse=True)
    def _no_other_way(self):
        """Here observers may be shown blocks."""

    @pytest.fixture
    def launched(self, monkeypatch):
        """Statistics of every forward launch."""
        from softtargets.engine import triton

        launch, found = triton._launch, []

        def record(*args, **kwargs):
            if "gradient" not in kwargs:
                found.append(kwargs["statistics"])
            launch(*args, **kwargs)

        monkeypatch.setattr(triton, "_launch", record)
        return found

    def test_without_learning_the_kernel_sweeps_once(self, launched):
        policy, logits, labels = st.OnlineLabelSmoothing(5), torch.eye(5), torch.arange(5)
        with torch.no_grad():
            cross_entropy(logits, labels, smoothing=policy, options=LossOptions(impl="triton"))
        learn(policy.eval(), logits, labels)
        learn(st.LabelSmoothing(0.1), logits, labels)
        assert launched == [None, None, None]
        assert learned(policy)[1].sum() == 0
        learn(policy.train(), logits, labels)
        assert launched[3].correct_only

    def test_sums_of_few_classes_are_shown_blocks(self, launched):
        policies = [st.OnlineLabelSmoothing(9, storage="top_k", top_k=2) for _ in range(2)]
        labels = torch.arange(9)
        logits = torch.randn(9, 9) + 4 * torch.eye(9)
        for policy, impl in zip(policies, ("triton", "eager"), strict=True):
            learn(policy, logits, labels, impl=impl)
            policy.end_epoch()
        assert launched == [None]
        torch.testing.assert_close(policies[0].matrix, policies[1].matrix)
        assert policies[0].matrix.amax() > 0.5

    def test_deterministic_algorithms_do_without_atomic_additions(self, launched):
        policy = st.OnlineLabelSmoothing(5)
        torch.use_deterministic_algorithms(True)
        try:
            learn(policy, torch.eye(5), torch.arange(5))
        finally:
            torch.use_deterministic_algorithms(False)
        assert launched == [None]
        assert learned(policy)[1].tolist() == [1] * 5

    def test_an_observer_may_be_a_plain_function(self, launched):
        from softtargets.engine import example_losses

        seen = []
        example_losses(
            torch.eye(3), st.Target.from_labels(torch.arange(3), 3),
            observer=lambda *block: seen.append(block), options=LossOptions(impl="triton"),
        )  # fmt: skip
        assert launched == [None]
        assert len(seen) == 1

    def test_an_empty_batch_teaches_nothing(self, launched):
        policy = st.OnlineLabelSmoothing(5)
        learn(policy, torch.zeros(0, 5), torch.zeros(0, dtype=torch.long))
        assert launched == []
        assert learned(policy)[1].sum() == 0


def test_the_observer_hands_out_the_sums_themselves():
    policy = st.OnlineLabelSmoothing(4)
    target = st.Target.from_labels(torch.tensor([1, -100]), 4)
    _, observer = policy.watching(target, torch.zeros(2, 4))
    assert isinstance(observer, LabelObserver)
    statistics = observer.statistics(torch.zeros(2, 4, dtype=torch.float16))
    assert statistics.labels.tolist() == [1, -1]
    assert statistics.sums is policy._table.sums.local
    assert statistics.sums.dtype == torch.float32
