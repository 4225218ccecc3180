"""What all records have in common, and the hash that shows whether one is as it was written."""

import hashlib
from typing import Any, Protocol, TypeVar, cast

import msgspec


class AnyRecord(Protocol):
    """What is common to the records of all kinds of runs; each is a frozen `msgspec.Struct`."""

    @property
    def format(self) -> int:
        """Version of the structure."""

    @property
    def spec(self) -> Any:
        """What was run."""

    @property
    def environment(self) -> Any:
        """Where."""

    @property
    def seconds(self) -> float:
        """Training time, over all sittings."""

    @property
    def arrays_sha256(self) -> str:
        """Hash of `arrays.npz`."""

    @property
    def model_sha256(self) -> str:
        """Hash of `model.pt`."""

    @property
    def content_sha256(self) -> str:
        """Hash of all of the above, see `seal`."""


Record = TypeVar("Record", bound=AnyRecord)


def seal(record: Record) -> Record:
    """Return the record with the hash of its own content."""
    bare = msgspec.structs.replace(cast(msgspec.Struct, record), content_sha256="")
    digest = hashlib.sha256(msgspec.json.encode(bare)).hexdigest()
    sealed = msgspec.structs.replace(bare, content_sha256=digest)
    return cast(Record, sealed)
