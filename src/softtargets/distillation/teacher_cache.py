"""A teacher's logits on disk: run it once, look its answers up by sample number."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from softtargets import checks
from softtargets.distillation.building import fill
from softtargets.distillation.chunks import (
    DTYPES,
    MANIFEST,
    Manifest,
    is_positive,
    joined,
    map_chunk,
    read_manifest,
    write_manifest,
)
from softtargets.distillation.identity import data_hash, teacher_hash
from softtargets.distillation.locking import LOCK, MARK, alone
from softtargets.target import Target


@final
class TeacherCache:
    r"""A teacher's logits for a whole data set, memory-mapped, looked up by sample number.

    `TeacherCache.build` runs the teacher and writes; it continues where it was stopped, also by
    kill -9. Opening a cache checks everything before training starts: that it is finished, whole
    and unchanged, and made by this teacher on this data.

    Rows are kept with their maximum subtracted, which a softmax does not see and half precision
    needs. With `top_k` the k largest logits are kept and the log of the rest's share, which is
    spread evenly over the other classes when it is read: exact for the k classes and the sum of
    the others at temperature 1.

    Args:
        path: the folder.
        data_fingerprint: what it was built with.
        teacher: compared with the one it was built from; None leaves that out, where the
            teacher is not at hand.
        verify: read every file once and compare its hash.

    Raises:
        ValueError: no finished cache, another teacher, other data, or a damaged file.

    Example:
        >>> import tempfile, torch, softtargets as st
        >>> inputs, teacher = torch.randn(6, 4), torch.nn.Linear(4, 3)
        >>> batches = [(inputs[:4], torch.arange(4)), (inputs[4:], torch.arange(4, 6))]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = st.TeacherCache.build(
        ...         folder, teacher, batches, 3, dtype=torch.float32, data_fingerprint="six rows"
        ...     )
        ...     logits = cache[torch.tensor([5, 0])]
        ...     del cache
        >>> expected = torch.softmax(teacher(inputs[[5, 0]]), -1)
        >>> torch.allclose(torch.softmax(logits, -1), expected, atol=1e-6)
        True
    """

    def __init__(
        self,
        path: str | Path,
        *,
        data_fingerprint: str | Tensor,
        teacher: nn.Module | None = None,
        verify: bool = True,
    ) -> None:
        folder, data = Path(path), data_hash(data_fingerprint)
        manifest = read_manifest(folder)
        if manifest is None or not manifest.finished:
            found = "none" if manifest is None else f"one of {_count(manifest)} samples so far"
            raise ValueError(
                f"`path` must hold a finished cache, {folder} has {found}; run "
                "`TeacherCache.build`, which continues where it stopped"
            )
        _check_same("data_fingerprint", manifest.data, data, folder)
        if teacher is not None:
            _check_same("teacher", manifest.teacher, teacher_hash(teacher), folder)
        self.path = folder
        self._opened = (str(folder.resolve()), data)
        self._manifest = manifest
        self._chunks = [map_chunk(folder, manifest, chunk, verify) for chunk in manifest.chunks]
        numbers = [chunk["index"] for chunk in self._chunks]
        known = torch.cat(numbers) if numbers else torch.zeros(0, dtype=torch.long)
        self._known, self._order = known.sort()
        sizes = torch.tensor([0, *(len(part) for part in numbers)])
        self._starts = sizes.cumsum(0)

    @property
    def num_classes(self) -> int:
        """K."""
        return self._manifest.num_classes

    @property
    def top_k(self) -> int | None:
        """The number of logits kept per sample, None for all."""
        return self._manifest.top_k

    def __len__(self) -> int:
        return len(self._known)

    def __reduce__(self) -> Any:
        # Worker processes open the files themselves instead of being sent their contents.
        return _reopened, self._opened

    def __repr__(self) -> str:
        kept = "all" if self.top_k is None else self.top_k
        return (
            f"TeacherCache({str(self.path)!r}, samples={len(self)}, "
            f"num_classes={self.num_classes}, kept={kept}, dtype={self._manifest.dtype})"
        )

    def require(self, index: Tensor) -> None:
        """Raise unless every sample is there; for the numbers of a whole data set, before training.

        Args:
            index: integers of any shape.

        Raises:
            ValueError: a sample is missing.
        """
        self._positions(index)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return the teacher's logits of these samples, for any policy or loss.

        Args:
            index: `(*batch)` integers, on any device.

        Returns:
            `(*batch, K)` float32 on the index's device, each row's maximum 0.

        Raises:
            ValueError: a sample is missing.
        """
        rows = self._rows(index)
        logits = rows["logits"].float()
        if self.top_k is not None:
            others = self.num_classes - self.top_k
            even = rows["rest"] - (torch.tensor(others).log() if others else 0.0)
            full = even.unsqueeze(-1).expand(*even.shape, self.num_classes)
            logits = full.scatter(-1, rows["classes"].long(), logits)
        return logits.to(index.device)

    def target(self, index: Tensor, temperature: float = 1.0) -> Target:
        """Return the teacher's distributions of these samples as a `Target`.

        With `top_k` it holds k entries per sample and no row of K numbers.

        Args:
            index: `(*batch)` integers, on any device.
            temperature: T > 0 of the softmax.

        Returns:
            Target of batch shape `index.shape`, marked as smoothed: nobody does it again.

        Raises:
            ValueError: a sample is missing, or the temperature is not positive.
        """
        temperature = checks.check_positive(temperature, "temperature")
        if self.top_k is None:
            return Target.from_probs(torch.softmax(self[index] / temperature, -1), smoothed=True)
        rows = self._rows(index)
        others = self.num_classes - self.top_k
        scaled = rows["logits"].float() / temperature
        if others:
            count = torch.tensor(others).log()
            rest = count + (rows["rest"] - count) / temperature
            scaled = torch.cat([scaled, rest.unsqueeze(-1)], -1)
        weights = torch.softmax(scaled, -1)[..., : self.top_k].to(index.device)
        classes = rows["classes"].long().to(index.device)
        built = Target.from_top_k(classes, weights, self.num_classes)
        return built.smoothed_from(built)

    def _positions(self, index: Tensor) -> Tensor:
        checks.check_labels_dtype(index, "index")
        wanted = index.detach().cpu().long().reshape(-1)
        slots = torch.searchsorted(self._known, wanted).clamp(max=max(len(self) - 1, 0))
        found = self._known[slots] == wanted if len(self) else torch.zeros_like(wanted).bool()
        if not bool(found.all()):
            raise ValueError(
                f"`index` must name samples that are in the cache, {int((~found).sum())} of "
                f"{len(wanted)} are not, the first is {int(wanted[~found][0])}; build the cache "
                "over the whole data set"
            )
        return self._order[slots]

    def _rows(self, index: Tensor) -> dict[str, Tensor]:
        """Return the stored fields of the samples, read from the chunks they lie in."""
        # In the files' order, one piece for each chunk that is asked.
        positions, order = self._positions(index).sort()
        owners = torch.searchsorted(self._starts, positions, right=True) - 1
        inside = positions - self._starts[owners]
        cuts = owners.diff().nonzero().flatten() + 1
        asked = torch.cat([owners[:1], owners[cuts]]).tolist()
        # Without any position there is one empty piece, which nobody is asked for.
        pieces = list(zip(asked, inside.tensor_split(cuts), strict=len(positions) > 0))
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        rows = {}
        for name, dtype, shape in self._manifest.fields():
            if name == "index":
                continue
            parts = [self._chunks[owner][name].index_select(0, piece) for owner, piece in pieces]
            found = joined(parts) if parts else torch.empty((0, *shape), dtype=dtype)
            rows[name] = found[back].reshape((*index.shape, *shape))
        return rows

    @classmethod
    def build(
        cls,
        path: str | Path,
        teacher: nn.Module,
        batches: Iterable[tuple[Any, Tensor]],
        num_classes: int,
        *,
        data_fingerprint: str | Tensor,
        dtype: torch.dtype = torch.float16,
        top_k: int | None = None,
        chunk_rows: int = 4096,
    ) -> Self:
        """Run the teacher over the data, write its logits, and open the cache.

        Called again after an interruption it skips what is written, and runs the teacher on the
        rest only; a finished cache is extended by samples of `batches` that it lacks. To open
        one without going through `batches`, use `TeacherCache(path, ...)`. One process may build
        at a time: in distributed training rank 0, while the others wait.

        Args:
            path: the folder, made if it is not there.
            teacher: called with the inputs of a batch, in eval mode without gradients, as it
                is and where it is.
            batches: yields pairs `(inputs, index)` without labels, the index `(n)` integers >= 0
                that number the samples in the data set, distinct within a batch; in any order, with
                the augmentation training will use, if any. A sample that comes again in a later
                batch is not asked about again.
            num_classes: K.
            data_fingerprint: a text that names the data and its version, or a tensor whose hash
                does, the labels for instance.
            dtype: of the stored logits, float16 or float32.
            top_k: how many logits to keep per sample; None keeps all.
            chunk_rows: samples per file, and at most lost by an interruption.

        Returns:
            The open cache.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: the folder holds the cache of another teacher, other data or other
                settings; a number is negative or twice in a batch; there is no sample at all; or
                the teacher's logits have a wrong shape, NaN or inf.
            RuntimeError: another process is building there.
        """
        wanted = _settings(teacher, num_classes, data_fingerprint, dtype, top_k)
        _check_count("chunk_rows", chunk_rows, "4096 is the default")
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ValueError(
                f"`path` must be a folder, {folder} is a file or lies in one; name another folder"
            ) from error
        _check_ours(folder)
        with alone(folder):
            manifest = read_manifest(folder)
            if manifest is None:
                manifest = wanted
                write_manifest(folder, manifest)
            for name, value in wanted.identity().items():
                _check_same(_ARGUMENTS.get(name, name), manifest.identity()[name], value, folder)
            fill(folder, manifest, teacher, batches, chunk_rows)
            return cls(folder, data_fingerprint=data_fingerprint, verify=False)


_ARGUMENTS = {"data": "data_fingerprint"}


def _reopened(folder: str, data: str) -> TeacherCache:
    return TeacherCache(folder, data_fingerprint=data, verify=False)


def _count(manifest: Manifest) -> int:
    return sum(chunk.rows for chunk in manifest.chunks)


def _settings(
    teacher: nn.Module,
    num_classes: int,
    data_fingerprint: str | Tensor,
    dtype: torch.dtype,
    top_k: int | None,
) -> Manifest:
    num_classes = checks.check_num_classes(num_classes)
    if dtype not in DTYPES:
        raise ValueError(f"`dtype` must be torch.float16 or torch.float32, got {dtype}")
    if top_k is not None:
        _check_count("top_k", top_k, "None keeps all logits")
        if top_k > num_classes:
            raise ValueError(
                f"`top_k` must be in 1 .. {num_classes} or None, got {top_k}; None keeps all logits"
            )
    return Manifest(
        num_classes=num_classes,
        dtype=DTYPES[dtype],
        top_k=top_k,
        teacher=teacher_hash(teacher),
        data=data_hash(data_fingerprint),
    )


def _check_count(name: str, value: object, way_out: str) -> None:
    if not is_positive(value):
        kind = ValueError if isinstance(value, int) and not isinstance(value, bool) else TypeError
        raise kind(f"`{name}` must be a positive integer, got {value!r}; {way_out}")


def _check_ours(folder: Path) -> None:
    """Raise if the folder holds other things and no cache."""
    found = {path.name for path in folder.iterdir()} - {LOCK, MARK}
    if found and not found & {MANIFEST, f"{MANIFEST}.part"}:
        raise ValueError(
            f"`path` must be an empty folder or a cache, {folder} holds {min(found)!r}; name "
            "another folder"
        )


def _check_same(name: str, stored: object, given: object, folder: Path) -> None:
    if stored != given:
        raise ValueError(
            f"`{name}` must be what the cache in {folder} was built with, {str(stored)[:40]!r}, "
            f"got {str(given)[:40]!r}; hand over that one, or build another cache in another folder"
        )
