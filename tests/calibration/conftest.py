import pytest
import torch


@pytest.fixture
def make_predictions():
    """Seeded predictions; labels follow softmax(logits / sharpness): 1 is calibrated."""

    def make(num_samples=500, num_classes=10, *, sharpness=1.0, scale=2.0, seed=0):
        generator = torch.Generator().manual_seed(seed)
        logits = scale * torch.randn(
            num_samples, num_classes, dtype=torch.float64, generator=generator
        )
        labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
        return sharpness * logits, labels

    return make
