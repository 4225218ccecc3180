"""The recipes of docs/recipes.md train, teach the policy, and keep its state."""

import importlib.util
import re
import warnings
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
BEFORE, *RECIPES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
LIBRARIES = ("lightning_fabric", "accelerate", "transformers")


def test_there_is_a_recipe_for_each():
    assert [re.search(r"from (\w+) import", each)[1] for each in RECIPES] == list(LIBRARIES)


def test_what_the_recipes_train_can_be_trained():
    names = {}
    exec(BEFORE, names)
    loss = names["criterion"](names["model"](names["inputs"]), names["labels"])
    loss.backward()
    names["policy"].end_epoch()
    assert names["policy"].epochs == 1


@pytest.mark.parametrize(("library", "recipe"), list(zip(LIBRARIES, RECIPES, strict=True)))
def test_a_recipe_trains(library, recipe, tmp_path):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    names = {"folder": tmp_path}
    exec(BEFORE, names)
    inputs, labels = names["inputs"].clone(), names["labels"].clone()
    before = names["model"](inputs).detach()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        exec(recipe, names)
    with torch.no_grad():
        after = names["model"](inputs)
    nll = torch.nn.functional.cross_entropy
    assert nll(after, labels) < 0.7 * nll(before, labels)
    policy = names["policy"]
    assert policy.epochs == 3
    # The rows are what the model said of right predictions, no longer uniform.
    assert (policy.matrix.diagonal() > 0.3).all()
    files = {each.name for each in tmp_path.rglob("*") if each.is_file()}
    assert files & {"fabric.pt", "criterion.pt", "custom_checkpoint_0.pkl"}
