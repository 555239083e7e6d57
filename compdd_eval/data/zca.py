"""ZCA whitening of real images, for sets that were distilled on whitened ones."""

import math
from dataclasses import dataclass

import torch

from compdd_eval.utils.devices import send

EPSILON = 0.1  # added to the eigenvalues, as in MTT
_CHUNK = 256


@dataclass(frozen=True)
class Whitening:
    """The map x -> (x - mean) W with W = V diag(1 / sqrt(eigenvalue + epsilon)) V^T over the pixels of an image.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), app. A; epsilon and its use on
    normalised images as in Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (CVPR 2022).
    Directions in which the images do not vary, which there are where images are fewer than pixels, have eigenvalue 0.

    Attributes:
        mean: `[D]`, D = C H W.
        directions: `[D, R]`, eigenvectors with an eigenvalue above 0.
        scales: `[R]`, 1 / sqrt(eigenvalue + epsilon) - 1 / sqrt(epsilon).
    """

    mean: torch.Tensor
    directions: torch.Tensor
    scales: torch.Tensor

    @classmethod
    def fit(cls, images: torch.Tensor) -> "Whitening":
        """Fit to float images `[N, C, H, W]`, where they lie; takes the smaller of N x N and D x D for eigenvectors."""
        flat = images.flatten(1)
        mean = flat.mean(0)
        centred = flat - mean
        number, pixels = centred.shape
        few = number < pixels  # then the eigenvectors of X X^T lead to those of X^T X
        products = centred @ centred.T if few else centred.T @ centred
        values, vectors = torch.linalg.eigh(products / max(number - 1, 1))
        kept = values > values.max() * 1e-6  # the rest is rounding; in these directions the images do not vary
        values, vectors = values[kept], vectors[:, kept]
        if few:
            vectors = centred.T @ vectors
            vectors = vectors / vectors.norm(dim=0)
        return cls(mean, vectors, (values + EPSILON).rsqrt() - 1 / math.sqrt(EPSILON))

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Whiten float images `[N, C, H, W]`, where the map lies; returns them where they were."""
        done = []
        for chunk in images.split(_CHUNK):
            centred = send(chunk, self.mean.device).flatten(1) - self.mean
            # 1 / sqrt(epsilon) in every direction, and what differs from it in the directions that were kept: W without
            # its D x D entries
            along = (centred @ self.directions) * self.scales
            whitened = centred / math.sqrt(EPSILON) + along @ self.directions.T
            done.append(whitened.view_as(chunk).to(images.device))
        return torch.cat(done)
