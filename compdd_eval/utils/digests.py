"""Digests: of plain values and of tensors."""

import hashlib
import json

import torch


def digest_of(content: object) -> str:
    """Return twelve hex digits over anything that JSON can hold."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def digest_of_tensors(*tensors: torch.Tensor) -> str:
    """Return a SHA-256 over type, shape and bytes of tensors, such as images and labels."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().contiguous().view(torch.uint8).numpy() if tensor.numel() else b"")
    return digest.hexdigest()
