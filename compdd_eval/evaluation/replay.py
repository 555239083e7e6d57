"""Train students on labels of views: the views and the teacher's outputs that are stored with a set."""

import torch
import torch.nn.functional as F

from compdd_eval.config.protocol import Protocol
from compdd_eval.distilled.view_labels import LabelledPass, ViewLabels
from compdd_eval.training.train import StudentBatches
from compdd_eval.utils.devices import send


class ReplayedBatches(StudentBatches):
    """What one student trains on: the images of a set as its labels of views have them, pass by pass.

    Every student sees the same views; its seed decides its weights alone, as in the published evaluators of such sets
    (SRe2L's `train_FKD.py`).

    Args:
        images: Float `[N, C, H, W]`, normalised.
        labels: Their labels of views; passes beyond those that are stored begin again with the first one.
        protocol: Its `temperature`.
    """

    def __init__(self, images: torch.Tensor, labels: ViewLabels, protocol: Protocol) -> None:
        super().__init__(images, torch.zeros(len(images), dtype=torch.int64), "hard", protocol, seed=0)
        self._labels, self._temperature = labels, protocol.temperature
        self._passes = self._batches = 0  # begun; batches of this pass
        self._pass: LabelledPass | None = None

    def put_on(self, device: torch.device, classes: int) -> None:
        """Move the images to a device, for good."""
        self.images = self.images.to(device)

    def order(self) -> torch.Tensor:
        """Begin the next pass; return its order, int64 `[N]`, on the device of the images."""
        self._pass = self._labels.read(self._passes)
        self._passes, self._batches = self._passes + 1, 0
        return send(self._pass.order, self.images.device)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the next batch of the pass, whose images have these indices, and the teacher's probabilities."""
        views, start = self._pass.views[self._batches], self._batches * self._labels.record.batch
        self._batches += 1
        logits = send(self._pass.logits[start : start + len(indices)], self.images.device)
        inputs = views.mix_images(views.crop_and_flip(self.images[indices]))
        return inputs, F.softmax(logits / self._temperature, dim=1)
