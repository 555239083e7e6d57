"""Augmentation beside the libraries whose numbers it has to give."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from compdd_eval.config.protocol import Protocol
from compdd_eval.training.augment import gather_samples
from compdd_eval.training.views import crop_and_resize, draw_boxes, draw_crops_and_flips
from tests.support.parity import normal


@pytest.mark.parametrize("size", [(32, 32), (17, 23), (128, 128)])
@pytest.mark.parametrize("least", [0.08, 0.5, 1.0])
def test_random_resized_crops_are_those_of_torchvision(size, least):
    """The same boxes, image by image; more draws than one, so that both streams are at the same place after it."""
    images, crop = normal(1, (6, 3, *size)), v2.RandomResizedCrop(size, scale=(least, 1.0), antialias=True)
    ours, theirs = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for _ in range(2):
        found = crop_and_resize(images, torch.tensor(draw_boxes(size, len(images), least, ours)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=theirs)))
            expected = torch.stack([crop(image) for image in images])
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("size", "parts"), [((32, 32), 2), ((17, 23), 3), ((9, 7), 4)])
def test_parts_are_shuffled_as_rded_does(size, parts):
    """Image by image: columns are cut, put into another order and joined, then rows; the last one takes the rest."""
    images = normal(1, (6, 3, *size))
    views = draw_crops_and_flips(size, 6, Protocol(patches=parts), torch.Generator().manual_seed(2))
    assert views.crops is None and views.flips is None and len(views.shuffles.flatten(1).unique(dim=0)) > 2
    expected = []
    for image, orders in zip(images, views.shuffles.tolist(), strict=True):
        for dim, order in ((2, orders[0]), (1, orders[1])):
            each = max(1, image.shape[dim] // parts)
            ends = [each * (part + 1) for part in range(parts - 1)] + [image.shape[dim]]
            cut = [image.narrow(dim, min(each * i, ends[-1]), max(0, end - each * i)) for i, end in enumerate(ends)]
            image = torch.cat([cut[part] for part in order], dim)
        expected.append(image)
    assert torch.equal(views.crop_and_flip(images), torch.stack(expected))


def test_nothing_is_drawn_for_parts_that_stay():
    generators = [torch.Generator().manual_seed(2) for _ in range(2)]
    views = draw_crops_and_flips((8, 8), 4, Protocol(flip=True), generators[0])
    assert views.shuffles is None and torch.equal(views.flips, torch.rand(4, generator=generators[1]) < 0.5)


def test_gathered_samples_are_those_of_grid_sample():
    """Values and gradients, inside, at the border and outside of the images."""
    images = normal(1, (4, 3, 9, 7)).double()
    grid = normal(2, (4, 6, 5, 2)).double()
    grid[0, 0] = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [-1.0, 1.0], [1.0, -1.0]])
    assert (grid.abs() > 1).any()
    values, gradients = [], []
    for sample in (gather_samples, lambda *given: F.grid_sample(*given, align_corners=True)):
        own = images.clone().requires_grad_()
        values.append(sample(own, grid))
        gradients.append(torch.autograd.grad((values[-1] * normal(3, (4, 3, 6, 5)).double()).sum(), own)[0])
    assert torch.allclose(*values, atol=1e-12) and torch.allclose(*gradients, atol=1e-12)
