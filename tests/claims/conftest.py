"""Every claim end to end, once for all tests: tiny networks, two seeds, two epochs."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from softtargets.claims.budgets import SMOKE
from softtargets.claims.record import ClaimsRecord
from softtargets.claims.registry import named
from softtargets.claims.running import Bench
from tests.lab.segmentation.scenes import files, packed
from tests.lab.translation.made_corpus import write_corpus


@dataclass(frozen=True)
class Smoke:
    folder: Path
    record: ClaimsRecord


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    folder = tmp_path_factory.mktemp("claims")
    write_corpus(folder / "data" / "multi30k", train=90, other=30)
    (folder / "data" / "camvid").mkdir()
    packed(folder / "data" / "camvid" / "camvid.tar", files())
    return Smoke(folder, Bench(named(("all",)), SMOKE, folder, folder / "data").run())
