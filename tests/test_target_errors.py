"""What a `Target` is read with must fit it: shapes, weights of a top-k, indices."""

import pytest
import torch

import softtargets as st

K = 3


def kinds():
    labels = st.Target.from_labels(torch.tensor([0, 1]), K)
    rows = torch.softmax(torch.randn(2, K), -1)
    values, indices = rows.topk(2)
    return {
        "labels": labels,
        "uniform": labels.smooth(0.3),
        "table": labels.smooth(0.3, torch.softmax(torch.randn(K, K), -1)),
        "rows": st.Target.from_probs(rows),
        "top-k": st.Target.from_top_k(indices, values, K),
    }


@pytest.mark.parametrize("kind", ["labels", "uniform", "table", "rows", "top-k"])
class TestShapes:
    @pytest.mark.parametrize("shape", [(2, 5), (2, 1), (1, K), (K,), (K, 2), (2, 2, K)])
    def test_logits_and_out(self, kind, shape):
        target = kinds()[kind]
        for name, call in (
            ("logits", lambda: target.dot(torch.ones(shape))),
            ("out", lambda: target.add_to(torch.zeros(shape), torch.ones(2))),
        ):
            with pytest.raises(ValueError, match=rf"`{name}` must have shape \(2, 3\), .* got \("):
                call()

    @pytest.mark.parametrize("shape", [(), (1,), (2, 1), (1, 2)])
    def test_scale(self, kind, shape):
        with pytest.raises(ValueError, match=r"`scale` must have the batch shape \(2,\), got \("):
            kinds()[kind].add_to(torch.zeros(2, K), torch.ones(shape))

    @pytest.mark.parametrize("shape", [(2, 5), (1, K), (K,)])
    def test_alive(self, kind, shape):
        target, alive = kinds()[kind], torch.ones(shape, dtype=torch.bool)
        logits = torch.zeros(2, K)
        for call in (
            lambda: target.dense(alive),
            lambda: target.mass(alive=alive),
            lambda: target.dot(logits, alive=alive),
        ):
            with pytest.raises(ValueError, match=r"`alive` must have shape .* batch shape \(2,\)"):
                call()

    @pytest.mark.parametrize("shape", [(5,), (1,), (), (2, K)])
    def test_weight(self, kind, shape):
        target, weight = kinds()[kind], torch.ones(shape)
        for call in (lambda: target.mass(weight), lambda: target.dot(torch.zeros(2, K), weight)):
            with pytest.raises(
                ValueError, match=r"`weight` must have shape \(3,\), one number per"
            ):
                call()


def test_no_tensors():
    target = kinds()["labels"]
    with pytest.raises(TypeError, match=r"`logits` must be a tensor, got list; .*as_tensor"):
        target.dot([[1.0, 2.0, 3.0]] * 2)
    with pytest.raises(TypeError, match=r"`weight` must be a tensor, got list"):
        target.mass([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match=r"`alive` must hold bools, .*float32; of logits take"):
        target.dense(torch.ones(2, K))


def test_shapes_are_those_inside_vmap():
    labels, logits = torch.tensor([0, 1]), torch.randn(2, K)
    target = st.Target.from_labels(labels, K).smooth(0.1)

    def one(label, scores):
        return st.Target.from_labels(label, K).smooth(0.1).dot(scores)

    torch.testing.assert_close(torch.func.vmap(one)(labels, logits), target.dot(logits))


@pytest.mark.parametrize("wrong", ["a", 1.5, {0}, {}])
def test_indices(wrong):
    for index in (wrong, (0, wrong)):
        with pytest.raises(TypeError, match=r"a target's index must be made of .* got \w+"):
            kinds()["labels"][index]


class TestWeightsOfATopK:
    @pytest.mark.parametrize("rest", ["uniform", "none"])
    @pytest.mark.parametrize("wrong", [-0.2, -1e-6, float("nan"), float("inf"), -float("inf")])
    def test_impossible_ones(self, wrong, rest):
        weights = torch.tensor([[0.5, 0.2], [0.5, wrong]])
        indices = torch.tensor([[0, 1], [2, 0]])
        with pytest.raises(ValueError, match=r"`weights` must be finite and >= 0, .*at \(1, 1\);"):
            st.Target.from_top_k(indices, weights, K, rest)

    def test_padding_may_be_nan(self):
        weights = torch.tensor([[0.5, 0.2], [torch.nan, torch.nan]])
        target = st.Target.from_top_k(torch.tensor([[0, 1], [2, 0]]), weights, K)
        torch.testing.assert_close(target[0].dense(), torch.tensor([0.5, 0.2, 0.3]))


def test_a_number_of_a_dynamic_shape_is_an_index():
    def middle(rows, labels):
        return st.Target.from_labels(labels, K)[rows.shape[0] // 2].dense()

    compiled = torch.compile(middle, fullgraph=True, dynamic=True, backend="eager")
    labels = torch.tensor([0, 1, 2, 0])
    assert torch.equal(compiled(torch.zeros(4, 2), labels), middle(torch.zeros(4, 2), labels))
