"""What several tests ask of training runs."""

import torch

from sdlearn.finetune import DreamBooth


def dreambooth(sd):
    """U-Net and text encoder, without class pictures: the quickest method that trains two parts."""
    return DreamBooth(sd, with_prior_preservation=False, train_text_encoder=True)


def weights(method):
    """Copies of all that a method trains."""
    return [p.detach().clone() for group in method.parameter_groups(1.0) for p in group["params"]]


def same(first, second):
    """Whether two lists of weights are equal to the bit."""
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
