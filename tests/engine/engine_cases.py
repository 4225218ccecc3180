"""Targets, layouts and the comparison that every engine is tested with, on any device."""

import torch

import softtargets as st
from softtargets.engine import LossOptions
from softtargets.losses import cross_entropy
from softtargets.testing import dense_cross_entropy, dense_target
from softtargets.testing.compare import poisoned_memory, random_logits, require_close

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
ROUNDING = {torch.float64: 2e-12, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def _rows(*shape):
    return torch.rand(*shape).softmax(-1)


def _labels(batch, k):
    labels = torch.randint(0, k, batch)
    if labels.numel() > 1:
        labels.view(-1)[1] = -100
    return labels


def _hard(batch, k):
    return st.Target.from_labels(_labels(batch, k), k)


def _probs(batch, k):
    probs = _rows(*batch, k)
    probs.view(-1, k)[0] = 0
    return st.Target.from_probs(probs)


def _top_k(batch, k, rest):
    weights, classes = (_rows(*batch, k) * (0.9 if k > 3 else 1.0)).topk(min(3, k))
    return st.Target.from_top_k(classes, weights, k, rest)


def _online(batch, k):
    target = _hard(batch, k)
    return (0.5 * target + 0.5 * target.map_classes(_rows(k, k))).smoothed_from(target)


def _everything(batch, k):
    """Entries that repeat, three table rows of two tables, two dense parts, uniform mass."""
    table = _rows(k, k)
    parts = _online(batch, k).mix(_hard(batch, k).smooth(0.2, table), 0.4)
    parts = parts.mix(_hard(batch, k).smooth(0.2, table), 0.7) + _hard(batch, k).smooth(0.1)
    return (parts + _probs(batch, k).smooth(0.1)).mix(_probs(batch, k).smooth(0.3), 0.6)


TARGETS = {
    "labels": _hard,
    "probs": _probs,
    "bfloat16 probs": lambda b, k: st.Target.from_probs(_rows(*b, k).bfloat16()),
    "top-k, uniform rest": lambda b, k: _top_k(b, k, "uniform"),
    "top-k, no rest": lambda b, k: _top_k(b, k, "none"),
    "uniform": lambda b, k: _hard(b, k).smooth(0.1),
    "prior": lambda b, k: _hard(b, k).smooth(0.1, _rows(k)),
    "row prior": lambda b, k: _hard(b, k).smooth(0.1, _rows(k, k)),
    "bfloat16 table": lambda b, k: _hard(b, k).blend(0.3, _rows(k, k).bfloat16()),
    "online": _online,
    "mix": lambda b, k: _hard(b, k).smooth(0.1).mix(_hard(b, k).smooth(0.1), 0.3),
    "dense mix": lambda b, k: _probs(b, k).mix(_probs(b, k), 0.3).smooth(0.1),
    "same class twice": lambda b, k: _hard(b, k) * 0.5 + st.Target.from_labels(_labels(b, 1), k),
    "negative": lambda b, k: _hard(b, k).smooth(-0.4, allow_negative=True),
    "signed table": lambda b, k: _hard(b, k).map_classes(torch.randn(k, k)),
    "zero-sum rows": lambda b, k: _hard(b, k).map_classes(torch.eye(k) - torch.eye(k).roll(1, 0)),
    "rate per sample": lambda b, k: _hard(b, k).smooth(torch.rand(b)),
    "probs through a table": lambda b, k: _probs(b, k).map_classes(_rows(k, k)),
    "everything": _everything,
}

# How memory lies: a class-last view `(*batch, K)` of the batch (3, 2, 4) or (6,).
LAYOUTS = {
    "rows": ((6,), lambda z: z.clone()),
    "strided classes": ((3, 2, 4), lambda z: z.movedim(-1, 1).contiguous().movedim(1, -1)),
    "every other class": ((6,), lambda z: z.repeat_interleave(2, -1)[..., ::2]),
    "transposed": ((6,), lambda z: z.T.contiguous().T),
    "three loops": (
        (3, 2, 4),
        lambda z: torch.cat([z, z], 2).movedim(0, -1).contiguous().movedim(-1, 0)[:, :, :4],
    ),
    "expanded": ((3, 2, 4), lambda z: z[:, :1].expand(3, 2, 4, z.shape[-1])),
}  # fmt: skip


def compare(
    name, dtype, layout="rows", *, classes=11, weighted=False, masked=False, dead=0.0,
    device="cpu", reuse=False, seed=0, impl="triton",
):  # fmt: skip
    """Compare losses and gradients with the dense float64 oracle; return the largest errors."""
    torch.manual_seed(seed)
    batch, arrange = LAYOUTS[layout]
    target = TARGETS[name](batch, classes)
    values = random_logits((*batch, classes), dtype, seed, dead=dead)
    logits = arrange(values)
    weight = torch.linspace(0.5, 2, classes) if weighted else None
    mask = torch.rand(*batch, classes) > 0.3 if masked else None
    wide = logits.double().detach().requires_grad_()
    expected = dense_cross_entropy(wide, target, weight=weight, class_mask=mask, reduction="none")
    incoming = torch.linspace(0.5, 1.5, expected.numel()).view(expected.shape)
    (expected_grad,) = torch.autograd.grad(expected, wide, incoming.double())
    # Arranged there: a copy to a device fills the gaps of a layout.
    own = arrange(values.to(device)).detach()
    assert own.stride() == logits.stride()
    own.requires_grad_()
    options = LossOptions(impl=impl, reuse_logits=reuse)
    with poisoned_memory():
        losses = cross_entropy(
            # A product of its own memory and layout, as a model's output: it may be reused.
            own * 1 if reuse else own, target.to(device),
            weight=None if weight is None else weight.to(device),
            class_mask=None if mask is None else mask.to(device),
            reduction="none", class_dim=-1, options=options,
        )  # fmt: skip
        (grad,) = torch.autograd.grad(losses, own, incoming.to(device, losses.dtype))
    assert grad.dtype == dtype
    assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    losses, grad, expected = losses.detach().cpu(), grad.cpu(), expected.detach()
    size = max(float(dense_target(target).abs().sum(-1).max()), 1.0)
    signed = any(bool((part < 0).any()) for term in target.terms for part in term.floats())
    settled = expected.isfinite() if signed else torch.ones_like(expected, dtype=torch.bool)
    exact = 2e-12 if dtype == torch.float64 and target.dtype == torch.float64 else 2e-5
    exact = exact if dtype != torch.float64 else 2e-12
    require_close(losses[settled], expected[settled], size * exact, "losses")
    living = logits != -torch.inf
    if mask is not None:
        assert bool((grad[~mask] == 0).all())
        living &= mask
    assert bool(grad.isfinite().all())
    require_close(grad[living], expected_grad[living], size * ROUNDING[dtype], "gradient")
    silent = target.ignored() | ~(logits != -torch.inf).any(-1)
    assert bool((losses[silent] == 0).all())
    assert bool((grad[silent] == 0).all())
    finite = settled & expected.isfinite()
    error = (losses.double() - expected)[finite].abs()
    grad_error = (grad.double() - expected_grad)[living].abs()
    return [float(e.max()) if e.numel() else 0.0 for e in (error, grad_error)]
