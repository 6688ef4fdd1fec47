"""Stage 4: the U-Net, in the latents of stage 1, conditioned on the text encoder of stage 2.

CLIP's loss only ever asks for one vector a caption; the U-Net reads one for every token, and has to
know which noun a colour belongs to. So the text encoder trains on here together with the U-Net, as
in the text-to-image model that Stable Diffusion grew from (Rombach et al. 2021, arXiv:2112.10752,
section 4.3.1); `train_text_encoder=False` freezes it as Stable Diffusion does.
"""

import hashlib
import os
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from sdlearn.data.cache import latents_from_moments
from sdlearn.data.world.attributes import pictures
from sdlearn.data.world.captions import LANGUAGES, caption, mentioned
from sdlearn.diffusion import NoiseSchedule, diffusion_loss
from sdlearn.models.architectures import SCHEDULER
from sdlearn.pretrain.clip import tokenize
from sdlearn.pretrain.config import PretrainConfig
from sdlearn.pretrain.dataset import WorldDataset, sheet
from sdlearn.pretrain.detail import seen_weights, subject_weights
from sdlearn.pretrain.stage import Training, device_and_dtype, train


def build_unet(config: PretrainConfig) -> UNet2DConditionModel:
    """SD's U-Net in small: cross-attention in the upper two of three levels."""
    return UNet2DConditionModel(
        sample_size=config.image_size // 2 ** (len(config.vae_channels) - 1),
        block_out_channels=config.unet_channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=config.text_width,
        attention_head_dim=tuple(channels // 32 for channels in config.unet_channels),
        norm_num_groups=16,
    )


def build_noise_scheduler() -> DDPMScheduler:
    """Stable Diffusion's noise schedule."""
    return DDPMScheduler.from_config(SCHEDULER)


@torch.no_grad()
def cache_moments(vae: AutoencoderKL, data: WorldDataset, config: PretrainConfig) -> Tensor:
    """Mean and log-variance of every picture's latents, `(N, 8, h, w)` float16.

    They are kept in the work folder, under a name that changes with the autoencoder's weights.
    """
    device, _ = device_and_dtype(config)
    path = config.work / f"latent-moments-{len(data)}-{_fingerprint(vae)}.safetensors"
    if not path.exists():
        parts = []
        for start in tqdm(range(0, len(data), 64), desc="encoding", unit=" x 64 pictures"):
            pixel_values = data.pixel_values(slice(start, start + 64)).to(device)
            posterior = vae.encode(pixel_values).latent_dist
            parts.append(posterior.parameters.half().cpu().contiguous())
        temporary = path.with_suffix(".tmp")
        save_file({"moments": torch.cat(parts)}, temporary)
        os.replace(temporary, path)
    return load_file(path)["moments"]


def _fingerprint(vae: AutoencoderKL) -> str:
    digest = hashlib.sha256()
    for tensor in vae.state_dict().values():
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:12]


def train_unet(
    config: PretrainConfig,
    data: WorldDataset,
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> UNet2DConditionModel:
    """Train the denoiser, anew or further than `config.start`, and the text encoder in place."""
    device, dtype = device_and_dtype(config)
    torch.manual_seed(config.seed)
    if config.start is None:
        unet = build_unet(config)
    else:
        unet = UNet2DConditionModel.from_pretrained(config.start / "unet")
    unet.to(device, memory_format=torch.channels_last)
    if device.type == "cpu" and dtype == torch.bfloat16:
        # measured: the backward pass of torch's fused attention takes a third of the step there
        unet.set_attn_processor(AttnProcessor())
        text_encoder.set_attn_implementation("eager")
    vae.to(device=device).requires_grad_(False).eval()
    text_encoder.to(device=device).requires_grad_(config.train_text_encoder)  # type: ignore[call-arg]
    schedule = NoiseSchedule.from_scheduler(build_noise_scheduler())
    moments = cache_moments(vae, data, config)
    latent_shape = (vae.config.latent_channels, *moments.shape[2:])
    scaling_factor = vae.config.scaling_factor
    details = subject_weights(data.shots, moments.shape[-1], config.detail_weight)  # (N, h, w)

    def losses(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        indices = data.batch(config.unet_batch, generator)
        fresh = torch.randn(len(indices), *latent_shape, generator=generator)
        latents = latents_from_moments(moments[indices], fresh, scaling_factor)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(1000, (len(indices),), generator=generator)
        captions = data.captions(indices, config.japanese, generator)
        dropped = torch.rand(len(indices), generator=generator) < config.caption_dropout
        captions = ["" if drop else text for drop, text in zip(dropped, captions, strict=True)]
        input_ids = tokenize(tokenizer, captions, full=True).to(device)
        encoder_hidden_states = text_encoder(input_ids)[0]  # (B, L, D)
        noisy_latents = schedule.add_noise(latents, noise, timesteps)
        noisy_latents = noisy_latents.to(device, memory_format=torch.channels_last)
        model_pred = unet(noisy_latents, timesteps.to(device), encoder_hidden_states).sample
        target = schedule.target(latents, noise, timesteps).to(device)
        weights = recipe_weights(schedule, timesteps, config).to(device)
        # the root on both sides, as the loss squares their difference
        detail = seen_weights(details[indices], schedule.snr(timesteps))
        root = detail.sqrt().unsqueeze(1).to(device)  # (B, 1, h, w)
        loss = diffusion_loss(model_pred * root, target * root, weights).mean()
        return {"loss": loss, "mse": F.mse_loss(model_pred.detach().float(), target)}

    pipeline = make_pipeline(vae, text_encoder, tokenizer, unet)
    prompts = sheet_prompts(config.seed)
    training = Training(
        name="unet",
        model=nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}),
        losses=losses,
        sheet=lambda path: draw_sheet(pipeline, prompts, path),
        learning_rate=config.unet_learning_rate,
        muon_factor=config.muon_factor,
        factors={"text_encoder": config.text_learning_rate / config.unet_learning_rate},
        ema_decay=config.ema_decay,
        minutes=config.unet_minutes,
        steps=config.unet_steps,
    )
    train(training, config)
    return unet


def recipe_weights(schedule: NoiseSchedule, timesteps: Tensor, config: PretrainConfig) -> Tensor:
    """Min-SNR weights, but with a floor for the noisiest timesteps; `(B,)`.

    A flat background is an average over hundreds of latents, so its colour can be read off the
    noisy latents down to a signal-to-noise ratio near 0.01. Only beyond that must the prompt decide
    it, and there the plain loss hardly weighs anything: backgrounds would follow the noise.
    """
    snr = schedule.snr(timesteps)
    weights = schedule.loss_weights(timesteps, config.snr_gamma)
    floored = snr.clamp(min=config.snr_floor) / snr
    return floored if weights is None else weights * floored


def make_pipeline(
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
) -> StableDiffusionPipeline:
    """The four parts as diffusers' own pipeline, with SD's noise schedule."""
    from diffusers import DDIMScheduler

    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler.from_config(build_noise_scheduler().config, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sheet_prompts(seed: int) -> list[str]:
    """Prompts of 24 held-out pictures, English and Japanese in turn."""
    rng = random.Random(seed)
    shots = pictures(24, seed=seed + 1, held_out=True)
    return [
        caption(mentioned(shot.attributes, rng), LANGUAGES[i % 2], rng)
        for i, shot in enumerate(shots)
    ]


def draw_sheet(pipeline: StableDiffusionPipeline, prompts: list[str], path: Path) -> None:
    """Draw each prompt once, 20 steps, and write them as one sheet."""
    pipeline.unet.eval()
    generators = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    images = pipeline(
        prompts, num_inference_steps=20, guidance_scale=5.0, generator=generators
    ).images
    sheet(images, 8, scale=2).save(path)
    path.with_suffix(".txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
    pipeline.unet.train()
