import pytest
import torch

from softtargets.lab.data import AUGMENTATIONS, augment
from softtargets.lab.data.augment import check_augmentation
from softtargets.lab.errors import LabError


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


BATCH = torch.randn(200, 3, 9, 7, generator=drawn(1))


def windows(image, most, mode):
    """All pictures that one can be moved to, mirrored ones last."""
    padded = torch.nn.functional.pad(image[None], (most,) * 4, mode=mode)[0]
    height, width = image.shape[-2:]
    cut = [
        padded[..., row : row + height, column : column + width]
        for row in range(2 * most + 1)
        for column in range(2 * most + 1)
    ]
    return torch.stack(cut)


@pytest.mark.parametrize(
    ("name", "most", "mode", "mirrored"),
    [
        ("shift", 2, "replicate", (False,)),
        ("crop-flip", 4, "reflect", (False, True)),
        ("flip", 0, "reflect", (False, True)),
    ],
)
def test_each_picture_is_one_of_its_own_windows(name, most, mode, mirrored):
    changed = augment(name, BATCH, drawn())
    assert changed.shape == BATCH.shape
    seen = set()
    for image, result in zip(BATCH, changed, strict=True):
        choices = windows(image, most, mode)
        sides = [choices.flip(-1) if side else choices for side in mirrored]
        equal = (torch.cat(sides) == result).flatten(1).all(1).nonzero()
        assert len(equal)
        seen.add(int(equal[0]))  # reflected windows may coincide with mirrored ones
    assert len(seen) > 0.5 * min(200, len(mirrored) * (2 * most + 1) ** 2)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_generator_alone_decides(name):
    state = torch.get_rng_state()
    first, again = augment(name, BATCH, drawn()), augment(name, BATCH, drawn())
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, augment(name, BATCH, drawn(5))) is (name == "none")
    grey = augment(name, BATCH[:, 0], drawn())
    assert torch.equal(grey, first[:, 0])
    assert augment(name, BATCH[:0], drawn()).shape == (0, 3, 9, 7)


def test_none_gives_the_batch_itself():
    assert augment("none", BATCH, drawn()) is BATCH


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("crop", (3, 8, 8), "unknown augmentation 'crop': choose from none, flip, shift"),
        ("flip", (5,), r"for pictures of shape .* got samples of shape \(5,\); choose none"),
        ("crop-flip", (3, 4, 9), "with sides of 5 or more"),
    ],
)
def test_what_cannot_be_augmented(name, shape, message):
    with pytest.raises(LabError, match=message):
        check_augmentation(name, shape)
    with pytest.raises(LabError, match=message):
        augment(name, torch.zeros(2, *shape), drawn())


@pytest.mark.parametrize("name", ["flip", "shift", "crop-flip"])
def test_channels_last_are_not_taken_for_rows(name):
    with pytest.raises(LabError, match=r"needs channels first, .* got samples of shape \(32, 32, "):
        check_augmentation(name, (32, 32, 3 if name != "crop-flip" else 1))
