import pytest


@pytest.fixture
def small_tiles(monkeypatch):
    """Let the Triton engine loop over a handful of rows and classes at a time."""
    from softtargets.engine import triton

    monkeypatch.setattr(triton, "TILE_ELEMENTS", 16)
    monkeypatch.setattr(triton, "STRIDED_ROWS", 4)
    monkeypatch.setattr(triton, "CONTIGUOUS_ROWS", 2)
