"""Online label smoothing: soft labels from the model's own correct predictions."""

import warnings
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.batching import blocks
from softtargets.engine import Observer
from softtargets.smoothing.base import (
    AbstractSmoothing,
    check_not_smoothed,
    check_policy_classes,
)
from softtargets.smoothing.class_tables import (
    AbstractClassTable,
    BFloat16Table,
    DenseTable,
    RowRules,
    Rows,
)
from softtargets.smoothing.observing import LabelObserver, single_labels
from softtargets.smoothing.schedule import Schedule, check_scheduled, current, shown
from softtargets.target import Target

BLOCK_ELEMENTS = 1 << 22
DEFAULT_TOP_K = 32

Storage = Literal["dense", "bfloat16", "top_k"]


@final
class OnlineLabelSmoothing(AbstractSmoothing):
    r"""Online label smoothing (OLS): each class's soft label is what the model says of it.

        q = hard_weight * e_y + soft_weight * matrix[y]

    During an epoch the softmax outputs of the samples whose prediction is right are summed by
    label; `end_epoch()`, to be called after each epoch, normalises the sums and replaces
    `matrix`. Without that call the soft label stays uniform: plain smoothing at rate `soft_weight`.
    No warning can say that it was forgotten, as an epoch has no sign of its own; `epochs` counts
    the calls and is shown by `print(criterion)`.
    It learns only while in training mode *and* gradients are enabled, and only from
    samples with a single label; mixed labels take the mixture of their rows.

    The state (rows, running sums, epoch count) is in `state_dict()`, exactly, also in the
    middle of an epoch: save the criterion with the model. With several processes `end_epoch()`
    adds up the sums of all ranks, and so does `sync()`, to be called before a checkpoint; both
    are collective. Load a state after `init_process_group`, so that it counts once and not per
    rank. Sums are float32: a class of more than some four million right samples in an epoch (label
    maps) wants `end_epoch()` more often.

    `LossOptions(impl="triton")` computes dense sums with the loss, by additions in no fixed order:
    they repeat from run to run only up to rounding, unless `torch.use_deterministic_algorithms`
    is on.

    `storage` says how rows and running sums are kept; sums of several ranks are kept once more
    after `sync()`:

    - `"dense"`: float32, `8 K^2` bytes and `4 K^2` more while an epoch ends. 12 MB for 1,000
      classes.
    - `"bfloat16"`: rows in bfloat16, sums in float32, `6 K^2` bytes and `2 K^2` more while an
      epoch ends: 2.9 and 1.0 GB for 21,841 classes. What rounding takes from a row is spread
      evenly over it, so every target keeps its mass.
    - `"top_k"`: the k largest entries of each row, the rest spread evenly over the other classes;
      `24 k K` bytes and `8 k K` more while an epoch ends: 98 and 33 MB for 128,256 classes and
      k = 32. Of each right sample the `2 k` largest probabilities are added to its label's
      running sums, of which the `2 k` largest stay. What finds no place is forgotten but for its
      mass, so a kept sum is at most the true one and every row has mass 1; k >= K is exact. In a
      small language model this moved rows by 0.004 in L1 distance (at most 2) beside the 0.43
      that keeping 32 entries did (`docs/decisions/0007-online-storage.md`). Rows of
      probabilities are refused as targets. Probability that an entry puts on a class masked in a
      sample goes to the rest of its row.

    Args:
        num_classes: K.
        hard_weight: weight of the one-hot label, or a `Schedule` of it.
        soft_weight: weight of the soft label; None for `1 - hard_weight`. The fine-grained
            variant uses 1.0 and 1.0.
        initial: `matrix` during the first epoch: `"uniform"`, or `"zeros"` as in the authors'
            CIFAR code.
        correct_only: learn from right predictions alone; False learns from every sample.
        momentum: share of the old row kept at `end_epoch()`; the paper replaces it (0.0).
        min_count: samples a class needs in an epoch for its row to change.
        max_confidence: a row whose maximum has passed this no longer changes (fine-grained
            variant: 0.88 to 0.9); 1.0 never stops.
        storage: `"dense"`, `"bfloat16"` or `"top_k"`.
        top_k: k for `storage="top_k"`; None for 32.

    Attributes:
        matrix: `(K, K)`, row y = the soft label of class y; replaced, never changed in place. A
            buffer; for `"bfloat16"` without what rounding took; for `"top_k"` written out, `4 K^2`
            bytes, each time it is asked for.
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

    def __init__(
        self,
        num_classes: int,
        hard_weight: float | Schedule = 0.5,
        *,
        soft_weight: float | None = None,
        initial: Literal["uniform", "zeros"] = "uniform",
        correct_only: bool = True,
        momentum: float = 0.0,
        min_count: int = 1,
        max_confidence: float = 1.0,
        storage: Storage = "dense",
        top_k: int | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = checks.check_num_classes(num_classes)
        most = 1.0 if soft_weight is None else float("inf")
        self.hard_weight = check_scheduled(
            hard_weight, lambda value: checks.check_fraction(value, "hard_weight", 0, most)
        )
        if soft_weight is not None:
            soft_weight = checks.check_fraction(soft_weight, "soft_weight", 0, float("inf"))
        elif not isinstance(self.hard_weight, Schedule):
            soft_weight = 1 - self.hard_weight
        # None: what the schedule leaves.
        self.soft_weight = soft_weight
        if initial not in ("uniform", "zeros"):
            raise ValueError(f'`initial` must be "uniform" or "zeros", got {initial!r}')
        self.initial = initial
        self.correct_only = checks.check_bool(correct_only, "correct_only")
        self.momentum = checks.check_fraction(momentum, "momentum")
        self.min_count = checks.check_integer(min_count, "min_count", 1)
        self.max_confidence = checks.check_fraction(max_confidence, "max_confidence")
        self.storage, self.top_k = storage, _check_storage(storage, top_k)
        self.epochs = 0
        table = self._make_table()
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        for name, rows in zip(table.row_names, table.initial_rows(dtype), strict=True):
            self.register_buffer(name, rows)
        # Last: while there is no table, `matrix` is no attribute yet and may become a buffer.
        self._table = table
        self.register_load_state_dict_pre_hook(_before_loading)  # type: ignore[no-untyped-call]

    def _make_table(self) -> AbstractClassTable:
        if self.storage == "dense":
            return DenseTable(self.num_classes, self.initial)
        if self.storage == "bfloat16":
            return BFloat16Table(self.num_classes, self.initial)
        # Imported when asked for: most tables are small.
        from softtargets.smoothing.top_k_table import TopKTable

        assert self.top_k is not None
        return TopKTable(self.num_classes, self.top_k, self.initial)

    @property
    def matrix(self) -> Tensor:
        """The soft labels, `(K, K)`."""
        return self._table.matrix(self._rows())

    def _rows(self) -> Rows:
        buffers: Any = self._buffers
        return tuple(buffers[name] for name in self._table.row_names)

    def _set_rows(self, rows: Rows) -> None:
        for name, tensor in zip(self._table.row_names, rows, strict=True):
            self._buffers[name] = tensor

    def _refitted_rows(self, dtype: torch.dtype) -> Rows:
        """Return the rows with their mass exact in `dtype`, and keep them where they may stay."""
        fitted = self._table.refitted(self._rows(), dtype)
        if fitted is None:
            return self._rows()
        if not checks.short_lived():
            self._set_rows(fitted)
        return fitted

    def forward(
        self,
        target: Target,
        logits: Tensor | None = None,
        *,
        teacher_logits: Tensor | None = None,
        inputs: Any = None,
        index: Tensor | None = None,
    ) -> Target:
        smoothed, observer = self.watching(target, logits)
        if observer is not None and logits is not None:
            dtype = torch.promote_types(logits.dtype, torch.float32)
            for key in blocks(logits.shape, BLOCK_ELEMENTS):
                block = logits.detach()[key].to(dtype)
                observer(key, block, torch.softmax(block, -1))
        return smoothed

    def watching(
        self,
        target: Target,
        logits: Tensor | None = None,
        **context: Any,
    ) -> tuple[Target, Observer | None]:
        """Return the smoothed target, and who learns from the logits if they are shown to it.

        For losses that go through the logits anyway: `forward` without its own pass over them.
        """
        check_not_smoothed(target, "OnlineLabelSmoothing")
        check_policy_classes(target, self.num_classes)
        labels, single = single_labels(target)
        learning = self.training and torch.is_grad_enabled()
        self._check_logits(logits, target, learning)
        # The rows are replaced at the end of an epoch, so the target may keep a reference to them.
        soft = self._table.soft(self._refitted_rows(target.dtype), target, logits)
        hard_weight = current(self.hard_weight, target.entries.weights)
        soft_weight = 1 - hard_weight if self.soft_weight is None else self.soft_weight
        made = (target.__mul__(hard_weight) + soft.__mul__(soft_weight)).smoothed_from(target)
        if not learning:
            return made, None
        return made, LabelObserver(
            sums=self._table.sums, labels=labels, single=single, correct_only=self.correct_only
        )

    def _check_logits(self, logits: Tensor | None, target: Target, learning: bool) -> None:
        if logits is None:
            if not learning:
                return
            raise TypeError(
                "`logits` must be given while OnlineLabelSmoothing learns; call `.eval()` on "
                "it to read its targets without learning"
            )
        expected = (*target.batch_shape, self.num_classes)
        if logits.shape != expected:
            raise ValueError(
                f"`logits` must have shape {expected} (classes last), got {tuple(logits.shape)}"
            )
        if learning and torch._C._are_functorch_transforms_active():
            raise RuntimeError(
                "OnlineLabelSmoothing cannot learn inside a torch.func transform; call `.eval()` "
                "on it there"
            )

    @torch.inference_mode(False)
    @torch.no_grad()
    def sync(self) -> None:
        """Add up the running sums of all ranks; collective, call before a checkpoint."""
        self._table.sums.sync(self._rows()[0].device)

    @torch.inference_mode(False)
    @torch.no_grad()
    def end_epoch(self) -> None:
        """Replace the rows of `matrix` by this epoch's statistics; collective, in any mode.

        Where nothing was learned since the last time, the rows stay and a warning says so.
        """
        self.sync()
        table = self._table
        if not bool((table.sums.counts() > 0).any()):
            warnings.warn(
                "OnlineLabelSmoothing.end_epoch() found nothing learned since the last one, so its "
                "matrix stays; it learns from right predictions, in training mode with gradients "
                "enabled",
                stacklevel=2,
            )
        rules = RowRules(
            momentum=self.momentum,
            min_count=self.min_count,
            max_confidence=self.max_confidence,
        )
        self._set_rows(table.renewed(self._rows(), rules))
        table.sums.clear()
        self.epochs += 1

    def get_extra_state(self) -> dict[str, Any]:
        """Return the running sums of this epoch and the epoch count.

        What this process saw and what all ranks shared stay apart: added up in another order,
        the sums of a restored run would differ in their last bit.
        """
        kind = {"storage": self.storage, "top_k": self.top_k}
        return {**self._table.sums.state(), **kind, "epochs": self.epochs}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` returned."""
        self._check_saved(state)
        self._table.sums.restore(state, self._rows()[0].device)
        self.epochs = int(state["epochs"])

    def _check_saved(self, state: dict[str, Any]) -> None:
        """Raise unless the extra state was saved by a policy of this kind and size."""
        saved = {
            "num_classes": len(state["counts"]),
            "storage": state.get("storage", "dense"),
            "top_k": state.get("top_k"),
        }
        mine = {name: getattr(self, name) for name in saved}
        if saved["num_classes"] != self.num_classes:
            raise ValueError(
                f"the saved state must be of {self.num_classes} classes, got "
                f"{saved['num_classes']}; build the policy with the number of classes it was "
                "saved with"
            )
        if saved != mine:
            raise ValueError(
                f"the saved state must be of {_kind(mine)}, got {_kind(saved)}; build the policy "
                "with what it was saved with"
            )

    def extra_repr(self) -> str:
        """Return the arguments for `repr`."""
        soft = "" if self.soft_weight is None else f"soft_weight={self.soft_weight:g}, "
        kind = "" if self.storage == "dense" else f"{_kind(vars(self))}, "
        return (
            f"num_classes={self.num_classes}, hard_weight={shown(self.hard_weight)}, "
            f"{soft}{kind}epochs={self.epochs}"
        )


def _kind(arguments: dict[str, Any]) -> str:
    storage, top_k = arguments["storage"], arguments["top_k"]
    return f"storage={storage!r}" + ("" if top_k is None else f", top_k={top_k}")


def _check_storage(storage: str, top_k: int | None) -> int | None:
    """Return k, or None where rows are whole; raise if the two do not fit together."""
    if storage not in ("dense", "bfloat16", "top_k"):
        raise ValueError(f'`storage` must be "dense", "bfloat16" or "top_k", got {storage!r}')
    if storage == "top_k":
        return checks.check_integer(DEFAULT_TOP_K if top_k is None else top_k, "top_k", 1)
    if top_k is not None:
        raise ValueError(
            f'`top_k` must be None unless `storage` is "top_k", got {top_k} with {storage!r}; '
            'pass `storage="top_k"`'
        )
    return None


def _before_loading(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuse another kind's state; let rows saved in float64 be restored without rounding."""
    assert isinstance(module, OnlineLabelSmoothing)
    extra = state_dict.get(f"{prefix}_extra_state")
    if extra is not None:
        module._check_saved(extra)
    for name, buffer in list(module.named_buffers(recurse=False)):
        saved = state_dict.get(f"{prefix}{name}")
        if saved is not None:
            module._buffers[name] = buffer.to(saved.dtype)
