"""Online label smoothing: soft labels from the model's own correct predictions."""

import warnings
from typing import Any, Literal, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from softtargets import checks
from softtargets.batching import blocks
from softtargets.smoothing.base import (
    AbstractSmoothing,
    check_not_smoothed,
    check_policy_classes,
)
from softtargets.target import Target
from softtargets.terms import DenseRows, Entries

BLOCK_ELEMENTS = 1 << 22


@final
class OnlineLabelSmoothing(AbstractSmoothing):
    r"""Online label smoothing (OLS): each class's soft label is what the model says of it.

        q = hard_weight * e_y + soft_weight * matrix[y]

    During an epoch the softmax outputs of the samples whose prediction is right are summed by
    label; `end_epoch()`, to be called after each epoch, normalises the sums and replaces
    `matrix`. Without that call the soft label stays uniform: plain smoothing at rate `soft_weight`.
    It learns only while in training mode *and* gradients are enabled, and only from
    samples with a single label; mixed labels take the mixture of their rows.

    Matrix and sums take `3 K^2` numbers: 12 MB for 1,000 classes, 12 GB for 32,000.

    The state (matrix, running sums, epoch count) is in `state_dict()`, exactly, also in the
    middle of an epoch: save the criterion with the model. With several processes `end_epoch()`
    adds up the sums of all ranks, and so does `sync()`, to be called before a checkpoint; both
    are collective.

    Args:
        num_classes: K.
        hard_weight: weight of the one-hot label.
        soft_weight: weight of the soft label; None for `1 - hard_weight`. The fine-grained
            variant uses 1.0 and 1.0.
        initial: `matrix` during the first epoch: `"uniform"`, or `"zeros"` as in the authors'
            CIFAR code.
        correct_only: learn from right predictions alone; False learns from every sample.
        momentum: share of the old row kept at `end_epoch()`; the paper replaces it (0.0).
        min_count: samples a class needs in an epoch for its row to change.
        max_confidence: a row whose maximum has passed this no longer changes (fine-grained
            variant: 0.88 to 0.9); 1.0 never stops.
        storage: how the table is kept; `"dense"` is the one way there is.

    Attributes:
        matrix: `(K, K)` buffer, row y = the soft label of class y; replaced, never changed in
            place.
        epochs: how often `end_epoch()` ran.

    Raises:
        TypeError: called to learn without logits, or with a target that is neither labels nor
            mixed labels.
        ValueError: an argument or the number of classes is out of range.

    Example:
        >>> import torch, softtargets as st
        >>> policy = st.OnlineLabelSmoothing(num_classes=2)
        >>> target = st.Target.from_labels(torch.tensor([0]), 2)
        >>> policy(target, torch.tensor([[2.0, 0.0]])).dense()
        tensor([[0.7500, 0.2500]])
        >>> policy.end_epoch()
        >>> policy.matrix
        tensor([[0.8808, 0.1192],
                [0.5000, 0.5000]])

    References:
        Zhang et al., "Delving Deep into Label Smoothing", IEEE TIP 2021, equations 4 to 7.
    """

    matrix: Tensor

    def __init__(
        self,
        num_classes: int,
        hard_weight: float = 0.5,
        *,
        soft_weight: float | None = None,
        initial: Literal["uniform", "zeros"] = "uniform",
        correct_only: bool = True,
        momentum: float = 0.0,
        min_count: int = 1,
        max_confidence: float = 1.0,
        storage: Literal["dense"] = "dense",
    ) -> None:
        super().__init__()
        self.num_classes = checks.check_num_classes(num_classes)
        if soft_weight is None:
            soft_weight = 1 - checks.check_fraction(hard_weight, "hard_weight")
        self.hard_weight = checks.check_fraction(hard_weight, "hard_weight", 0, float("inf"))
        self.soft_weight = checks.check_fraction(soft_weight, "soft_weight", 0, float("inf"))
        if initial not in ("uniform", "zeros"):
            raise ValueError(f'`initial` must be "uniform" or "zeros", got {initial!r}')
        if isinstance(min_count, bool) or not isinstance(min_count, int):
            raise TypeError(f"`min_count` must be an integer, got {type(min_count).__name__}")
        if min_count < 1:
            raise ValueError(f"`min_count` must be at least 1, got {min_count}")
        if storage != "dense":
            raise ValueError(f'`storage` must be "dense", got {storage!r}')
        self.initial = initial
        self.correct_only = correct_only
        self.momentum = checks.check_fraction(momentum, "momentum")
        self.min_count = min_count
        self.max_confidence = checks.check_fraction(max_confidence, "max_confidence")
        self.epochs = 0
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        self.register_buffer("matrix", self._initial_matrix(dtype))
        # Running sums are no buffers: DDP would overwrite them with rank 0's, `.half()` round
        # them. `_shared_*` has been added up over the ranks, `_local_*` has not.
        self._local_sums, self._local_counts = self._zeros(torch.float32)
        self._shared_sums, self._shared_counts = self._zeros(torch.float32)
        self.register_load_state_dict_pre_hook(_adopt_matrix_dtype)  # type: ignore[no-untyped-call]

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        check_not_smoothed(target, "OnlineLabelSmoothing")
        check_policy_classes(target, self.num_classes)
        labels, single = _single_labels(target)
        if torch.promote_types(self.matrix.dtype, target.dtype) != self.matrix.dtype:
            self._widen(target.dtype)
        # The matrix is replaced at the end of an epoch, so the target may keep a reference to it.
        soft = target.map_classes(self.matrix)
        if self.training and torch.is_grad_enabled():
            if logits is None:
                raise TypeError(
                    "`logits` must be given while OnlineLabelSmoothing learns; call `.eval()` on "
                    "it to read its targets without learning"
                )
            self._check_can_learn(logits, target)
            self._observe(logits.detach(), labels, single)
        return (target * self.hard_weight + soft * self.soft_weight).smoothed_from(target)

    def _check_can_learn(self, logits: Tensor, target: Target) -> None:
        expected = (*target.batch_shape, self.num_classes)
        if logits.shape != expected:
            raise ValueError(
                f"`logits` must have shape {expected} (classes last), got {tuple(logits.shape)}"
            )
        if torch._C._are_functorch_transforms_active():
            raise RuntimeError(
                "OnlineLabelSmoothing cannot learn inside a torch.func transform; call `.eval()` "
                "on it there"
            )

    @torch.no_grad()
    def _observe(self, logits: Tensor, labels: Tensor, single: Tensor) -> None:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        wider = torch.promote_types(dtype, self._local_sums.dtype)
        self._local_sums = self._local_sums.to(logits.device, wider)
        self._local_counts = self._local_counts.to(logits.device, wider)
        for key in blocks(logits.shape, BLOCK_ELEMENTS):
            rows = logits[key].reshape(-1, self.num_classes)
            label, keep = labels[key].reshape(-1), single[key].reshape(-1)
            if self.correct_only:
                keep = keep & (rows.argmax(-1) == label)
            if checks.readable(rows):
                chosen = keep.nonzero()[:, 0]
                rows, label, keep = rows[chosen], label[chosen], keep[chosen]
            probs = torch.softmax(rows, -1, dtype=dtype)
            finite = probs.sum(-1).isfinite()
            if not (checks.readable(rows) and bool(finite.all())):
                keep = keep & finite
                probs = torch.where(keep.unsqueeze(-1), probs, 0)
            self._local_sums.index_add_(0, label, probs.to(wider))
            self._local_counts.index_add_(0, label, keep.to(wider))

    @torch.no_grad()
    def sync(self) -> None:
        """Add up the running sums of all ranks; collective, call before a checkpoint."""
        if not _several_ranks():
            return
        device, dtype = self.matrix.device, self._local_sums.dtype
        local = torch.cat([self._local_sums, self._local_counts.unsqueeze(-1)], -1)
        total = local.to(device, torch.float64)
        dist.all_reduce(total)
        self._shared_sums = (self._shared_sums.to(total) + total[:, :-1]).to(dtype)
        self._shared_counts = (self._shared_counts.to(total) + total[:, -1]).to(dtype)
        self._local_sums, self._local_counts = self._zeros(dtype)

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Replace the rows of `matrix` by this epoch's statistics; collective."""
        self.sync()
        shared, local = self._shared_sums, self._local_sums
        dtype = torch.promote_types(
            self.matrix.dtype, torch.promote_types(shared.dtype, local.dtype)
        )
        old = self.matrix.to(dtype)
        sums = shared.to(old) + local.to(old)
        counts = self._shared_counts.to(old) + self._local_counts.to(old)
        if not bool((counts > 0).any()):
            warnings.warn(
                "OnlineLabelSmoothing.end_epoch() found nothing learned since the last one, so its "
                "matrix stays; it learns from right predictions, in training mode with gradients "
                "enabled",
                stacklevel=2,
            )
        fresh = sums / sums.sum(-1, keepdim=True)
        # A row of zeros (`initial="zeros"`) holds nothing that momentum could keep.
        kept = self.momentum * (old != 0).any(-1, keepdim=True).to(dtype)
        changed = counts >= self.min_count
        if self.max_confidence < 1:
            changed &= old.amax(-1) <= self.max_confidence
        self.matrix = torch.where(changed.unsqueeze(-1), kept * old + (1 - kept) * fresh, old)
        self._local_sums, self._local_counts = self._zeros(local.dtype)
        self._shared_sums, self._shared_counts = self._zeros(local.dtype)
        self.epochs += 1

    def get_extra_state(self) -> dict[str, Any]:
        """Return the running sums of this epoch and the epoch count.

        What this process saw and what all ranks shared stay apart: added up in another order,
        the sums of a restored run would differ in their last bit.
        """
        return {
            "sums": self._local_sums.to("cpu", copy=True),
            "counts": self._local_counts.to("cpu", copy=True),
            "shared_sums": self._shared_sums.to("cpu", copy=True),
            "shared_counts": self._shared_counts.to("cpu", copy=True),
            "epochs": self.epochs,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` returned."""
        if state["sums"].shape != (self.num_classes, self.num_classes):
            raise ValueError(
                f"the saved state must be of {self.num_classes} classes, got "
                f"{state['sums'].shape[0]}; build the policy with the number of classes it was "
                "saved with"
            )
        device = self.matrix.device
        sums, counts, shared_sums, shared_counts = (
            state[name].to(device, copy=True)
            for name in ("sums", "counts", "shared_sums", "shared_counts")
        )
        if _several_ranks():
            # Every rank restores the same file: what its writer saw must not count for each.
            shared_sums, shared_counts = shared_sums + sums, shared_counts + counts
            sums, counts = self._zeros(sums.dtype)
        self._local_sums, self._local_counts = sums, counts
        self._shared_sums, self._shared_counts = shared_sums, shared_counts
        self.epochs = int(state["epochs"])

    def _zeros(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        device = self.matrix.device
        sums = torch.zeros(self.num_classes, self.num_classes, dtype=dtype, device=device)
        return sums, torch.zeros(self.num_classes, dtype=dtype, device=device)

    def _initial_matrix(self, dtype: torch.dtype) -> Tensor:
        value = 1 / self.num_classes if self.initial == "uniform" else 0.0
        return torch.full((self.num_classes, self.num_classes), value, dtype=dtype)

    @torch.no_grad()
    def _widen(self, dtype: torch.dtype) -> None:
        """Go over to a wider dtype, as after `.half()`; rounded rows sum to 1 again."""
        wide = self.matrix.to(dtype)
        total = wide.sum(-1, keepdim=True)
        self.matrix = wide / torch.where(total == 0, 1, total)

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        return (
            f"num_classes={self.num_classes}, hard_weight={self.hard_weight:g}, "
            f"soft_weight={self.soft_weight:g}, epochs={self.epochs}"
        )


def _several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _adopt_matrix_dtype(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Let a float64 matrix be restored as such instead of being rounded into the buffer's dtype."""
    saved = state_dict.get(f"{prefix}matrix")
    if saved is not None and isinstance(module, OnlineLabelSmoothing):
        module.matrix = module.matrix.to(saved.dtype)


def _single_labels(target: Target) -> tuple[Tensor, Tensor]:
    """Return `(*batch)` labels and where they are the only label of their sample."""
    if not target.others:
        entries: Entries = target.entries
        if entries.classes.shape[-1] == 1:
            return entries.classes[..., 0], entries.weights[..., 0] != 0
        main = entries.weights.abs().argmax(-1, keepdim=True)
        label = entries.classes.gather(-1, main)
        same = (entries.classes == label) | (entries.weights == 0)
        return label[..., 0], same.all(-1) & entries.used()
    if all(isinstance(term, DenseRows) for term in target.others):
        values = target.dense()
        return values.argmax(-1), (values != 0).sum(-1) == 1
    raise TypeError(
        "`target` must be labels, mixed labels or rows of probabilities for OnlineLabelSmoothing, "
        "got one with further terms; apply the policy before other changes"
    )
