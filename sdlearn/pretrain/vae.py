"""Stage 1: the autoencoder. Pictures to latents of 16 x 16 x 4, and back."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import WorldDataset, sheet, to_images
from sdlearn.pretrain.stage import Training, device_and_dtype, train

GRADIENT_WEIGHT = 1.0  # on differences between neighbouring pixels: edges, eyes, mouths
KL_WEIGHT = 2e-4  # per latent value; small, so that the latents stay sharp


def build_vae(config: PretrainConfig) -> AutoencoderKL:
    """A small `AutoencoderKL` without attention: fully convolutional, any size."""
    levels = len(config.vae_channels)
    vae = AutoencoderKL(
        block_out_channels=config.vae_channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=config.image_size,
    )
    with (
        torch.no_grad()
    ):  # begin with little noise on the latents, or the first minutes drown in it
        vae.quant_conv.bias[vae.config.latent_channels :] -= 6.0
    return vae


def reconstruction_loss(reconstruction: Tensor, pixel_values: Tensor) -> Tensor:
    """L1 on pixels and on their horizontal and vertical differences, in [-1, 1] units."""
    error = reconstruction - pixel_values
    across, down = error.diff(dim=-1).abs().mean(), error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * error.square().mean() + GRADIENT_WEIGHT * (across + down)


def crop(pixel_values: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A square of `side` pixels of each picture, its corner anywhere on a grid of 4."""
    places = (pixel_values.shape[-1] - side) // 4 + 1
    corners = 4 * torch.randint(places, (len(pixel_values), 2), generator=generator)
    pairs = zip(pixel_values, corners.tolist(), strict=True)
    parts = [picture[:, y : y + side, x : x + side] for picture, (y, x) in pairs]
    return torch.stack([part.contiguous() for part in parts])  # (B, 3, side, side)


def augment(pixel_values: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the pictures and swap the colour channels of one in seven.

    The autoencoder must serve pictures from outside its world too: those one fine-tunes on.
    """
    size = pixel_values.shape[0]
    mirrored = torch.rand(size, 1, 1, 1, generator=generator) < 0.5
    pixel_values = torch.where(mirrored, pixel_values.flip(-1), pixel_values)
    swapped = torch.rand(size, 1, 1, 1, generator=generator) < 0.15
    order = torch.randperm(3, generator=generator)
    return torch.where(swapped, pixel_values[:, order], pixel_values)


def train_vae(config: PretrainConfig, data: WorldDataset) -> AutoencoderKL:
    """Train the autoencoder and record its `scaling_factor` from the latents' real spread."""
    device, _ = device_and_dtype(config)
    torch.manual_seed(config.seed)
    vae = build_vae(config).to(device)
    train(_training("vae", vae, config, data), config)
    vae.register_to_config(scaling_factor=measure_scaling_factor(vae, data, device))
    return vae


def train_decoder(config: PretrainConfig, data: WorldDataset, vae: AutoencoderKL) -> AutoencoderKL:
    """Train the decoder further while the latents stay as they are, for sharper pictures.

    The U-Net sees only latents, so it can be trained before, after or at the same time.
    """
    device, _ = device_and_dtype(config)
    vae = vae.to(device).train()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    train(_training("decoder", vae, config, data), config)
    return vae


def _training(
    name: str, vae: AutoencoderKL, config: PretrainConfig, data: WorldDataset
) -> Training:
    device, _ = device_and_dtype(config)

    def losses(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        pixel_values = data.pixel_values(data.batch(config.vae_batch, generator))
        pixel_values = augment(crop(pixel_values, config.vae_crop, generator), generator)
        side = config.vae_crop // 2 ** (len(config.vae_channels) - 1)
        noise = torch.randn(config.vae_batch, 4, side, side, generator=generator)
        pixel_values = pixel_values.to(device)
        posterior = vae.encode(pixel_values).latent_dist
        latents = posterior.mean + posterior.std * noise.to(device)
        reconstruction = vae.decode(latents).sample
        rebuilt = reconstruction_loss(reconstruction.float(), pixel_values)
        kl = posterior.kl().mean() / latents[0].numel()
        mse = F.mse_loss(reconstruction.detach().float(), pixel_values)
        return {"loss": rebuilt + KL_WEIGHT * kl, "kl": kl, "mse": mse}

    shown = data.pixel_values(slice(0, 24)).to(device)

    def draw(path: Path) -> None:
        rebuilt = vae.decode(vae.encode(shown).latent_dist.mode()).sample
        pairs = zip(to_images(shown), to_images(rebuilt), strict=True)
        sheet([image for pair in pairs for image in pair], 12).save(path)

    return Training(
        name=name,
        model=vae,
        losses=losses,
        sheet=draw,
        learning_rate=config.vae_learning_rate,
        muon_factor=config.muon_factor,
        ema_decay=0.999,
        minutes=config.minutes(name),
        steps=config.steps(name),
    )


@torch.no_grad()
def measure_scaling_factor(vae: AutoencoderKL, data: WorldDataset, device: torch.device) -> float:
    """1 / standard deviation of 512 pictures' latents, so that scaled ones have unit spread.

    Source: Rombach et al. 2022, arXiv:2112.10752, appendix G.
    """
    parts = [
        data.pixel_values(slice(i, i + 64)).to(device) for i in range(0, min(512, len(data)), 64)
    ]
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in parts])
    return round(1 / latents.std().item(), 5)
