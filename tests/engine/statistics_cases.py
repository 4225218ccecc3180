"""What online label smoothing must learn beside a fused loss, and the comparison with it."""

import torch

import softtargets as st
from softtargets.engine import LossOptions
from softtargets.losses import cross_entropy
from softtargets.testing.compare import random_logits
from tests.engine.engine_cases import LAYOUTS

# Of a sum, relative; the summands are probabilities.
ROUNDING = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2e-6, torch.bfloat16: 2e-6}


def learned(policy):
    """Running sums and counts of the epoch, on the CPU."""
    state = policy.get_extra_state()
    return state["sums"], state["counts"]


def expected_statistics(logits, labels, class_mask, correct_only):
    """Sums and counts row by row in float64; labels below 0 teach nothing."""
    k = logits.shape[-1]
    sums, counts = torch.zeros(k, k, dtype=torch.float64), torch.zeros(k, dtype=torch.float64)
    mask = torch.ones_like(logits, dtype=torch.bool) if class_mask is None else class_mask
    rows = zip(logits.reshape(-1, k), labels.reshape(-1), mask.reshape(-1, k), strict=True)
    for row, label, alive in rows:
        row = torch.where(alive, row.double(), -torch.inf)
        highest = max(row.tolist())
        probs = row.softmax(-1)
        if label < 0 or not bool(probs.isfinite().all()):
            continue
        if correct_only and row.tolist().index(highest) != int(label):
            continue
        sums[label] += probs
        counts[label] += 1
    return sums, counts


def right_half(logits, labels, class_mask=None):
    """Make about half of the predictions right, with ties before and behind some of them."""
    k = logits.shape[-1]
    picked = logits if class_mask is None else logits.masked_fill(~class_mask, -torch.inf)
    top = picked.amax(-1, keepdim=True)
    own = labels.clamp(min=0).unsqueeze(-1)
    half = (torch.rand(labels.shape) < 0.6).unsqueeze(-1) & top.isfinite()
    logits = logits.scatter(-1, own, torch.where(half, top, logits.gather(-1, own)))
    other = torch.randint(0, k, labels.shape).unsqueeze(-1)
    tied = half & (torch.rand(labels.shape) < 0.3).unsqueeze(-1)
    return logits.scatter(-1, other, torch.where(tied, top, logits.gather(-1, other)))


def learn(policy, logits, labels, *, class_mask=None, impl="triton"):
    """One loss and its gradient, through a policy that learns."""
    logits = logits.detach().requires_grad_()
    loss = cross_entropy(
        logits, labels, smoothing=policy, class_mask=class_mask, class_dim=-1,
        options=LossOptions(impl=impl),
    )  # fmt: skip
    loss.backward()
    return loss.detach()


def compare_statistics(
    dtype, layout="rows", *, classes=11, masked=False, dead=0.0, correct_only=True,
    storage="dense", repeats=2, device="cpu", seed=0,
):  # fmt: skip
    """Compare what is learned with float64 and with the eager engine; return the sums."""
    torch.manual_seed(seed)
    batch, arrange = LAYOUTS[layout]
    labels = torch.randint(0, min(classes, 3), batch)
    labels.view(-1)[1] = -100
    mask = torch.rand(*batch, classes) > 0.3 if masked else None
    values = random_logits((*batch, classes), dtype, seed, dead=dead)
    values = right_half(values, labels, mask)
    logits = arrange(values)
    sums, counts = expected_statistics(logits, labels, mask, correct_only)
    found = {}
    for impl, place in (("triton", device), ("eager", "cpu")):
        policy = st.OnlineLabelSmoothing(classes, correct_only=correct_only, storage=storage).to(
            place
        )
        own, own_mask = arrange(values.to(place)), None if mask is None else mask.to(place)
        assert own.stride() == logits.stride()
        for _ in range(repeats):
            learn(policy, own, labels.to(place), class_mask=own_mask, impl=impl)
        found[impl] = learned(policy)
    for impl, (ours, ours_counts) in found.items():
        assert ours.dtype == (torch.float64 if dtype == torch.float64 else torch.float32), impl
        torch.testing.assert_close(ours_counts.double(), counts * repeats, rtol=0, atol=0)
        torch.testing.assert_close(
            ours.double(), sums * repeats, rtol=ROUNDING[dtype] * 4, atol=ROUNDING[dtype]
        )
    return found["triton"]
