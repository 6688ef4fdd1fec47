"""What several tests ask of training runs and of pipelines."""

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


def draw(pipeline, prompt="a photo of a person", **settings):
    """One picture, always from the same noise: (1, 3, H, W) in [0, 1]."""
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(7)
    result = pipeline(
        prompt, num_inference_steps=2, generator=generator, output_type="pt", **settings
    )
    return result.images
