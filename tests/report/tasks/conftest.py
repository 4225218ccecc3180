import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("sacrebleu")

from softtargets.lab.task_compare import TaskSettings, compare
from tests.lab.segmentation.scenes import files, written
from tests.lab.translation.made_corpus import write_corpus

MODEL = {"vocabulary": 330, "width": 16, "heads": 2, "layers": 1, "feed_forward": 16}
OPTIONS = {
    "translation": MODEL | {"beams": (1, 3), "resamples": 20},
    "segmentation": {"width": 4, "depth": 2, "pixels": 30, "resamples": 20},
}
METHODS = {"translation": ("hard", "unigram"), "segmentation": ("ce", "ce+dice-spatial")}


@pytest.fixture(scope="session")
def comparisons(tmp_path_factory):
    """A comparison of each kind, two seeds of two methods."""
    folder = tmp_path_factory.mktemp("tasks")
    data = {
        "translation": f"translation:{write_corpus(folder / 'texts')}",
        "segmentation": f"camvid:{written(folder / 'scenes', files())}",
    }
    return {
        kind: compare(
            TaskSettings(
                kind=kind,
                data=word,
                methods=METHODS[kind],
                seeds=2,
                epochs=1,
                options=OPTIONS[kind],
            ),
            folder / kind,
        )
        for kind, word in data.items()
    }


@pytest.fixture(params=["translation", "segmentation"])
def comparison(request, comparisons):
    return comparisons[request.param]
