"""Random numbers by name: every use has a generator of its own, so nothing has to be restored."""

import hashlib

import torch


def generator(*parts: str | int) -> torch.Generator:
    """Return a CPU generator seeded by a hash of `parts`, as ("order", seed, epoch)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
