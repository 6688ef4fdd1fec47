"""The parts of a Stable Diffusion, together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from tqdm.auto import tqdm

from sdlearn.models.conditioning import Conditioning
from sdlearn.models.dtypes import take_any_dtype
from sdlearn.models.prompts import expand_prompt, warn_of_cut
from sdlearn.models.samplers import check_steps
from sdlearn.models.writing import check_utf8

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

STEPS = 20  # of the sampler, a picture
GUIDANCE_SCALE = 5.0  # how strongly the prompt pulls; 1 is no guidance


@dataclass(frozen=True, kw_only=True)
class StableDiffusion:
    """Tokenizer, text encoder, VAE, U-Net and noise scheduler of one Stable Diffusion.

    Nothing here depends on the size of the model or its pictures. Fine-tuning methods never change
    the weights of the model they are given: they train copies (see `sdlearn.finetune`). Other than
    that, one that was loaded `in_place` is its method's own: its very weights train, and those of
    parts that are not needed for a while are let go of.
    """

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    vae: AutoencoderKL
    unet: UNet2DConditionModel
    noise_scheduler: SchedulerMixin  # as trained with; for drawing it is only read
    name: str = ""  # what `load` was asked for
    opened_from: str = field(default="", repr=False)  # by `load`, with its path: is never written
    in_place: bool = False  # whether a method may train its weights, and let go of parts
    learning_rates: Mapping[str, float] = field(default_factory=dict)  # method -> rate
    train_steps: Mapping[str, int] = field(default_factory=dict)  # method -> optimizer steps
    snr_gammas: Mapping[str, float] = field(default_factory=dict)  # method -> min-SNR's gamma

    @property
    def vae_reduction(self) -> int:
        """How many pixels a latent is wide: 8 in SD 1.5."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def image_size(self) -> int:
        """Height and width in pixels that the U-Net was trained for."""
        return self.unet.config.sample_size * self.vae_reduction

    @property
    def size_step(self) -> int:
        """What heights and widths are multiples of, in pixels: 64 in SD 1.5."""
        return self.vae_reduction * 2 ** (len(self.unet.config.block_out_channels) - 1)

    @property
    def device(self) -> torch.device:
        """Where the model is; only a U-Net that trains in shards waits elsewhere, on the CPU."""
        return self.vae.device

    @property
    def models(self) -> tuple[Any, ...]:
        """The parts that have weights."""
        return *self.text_encoders.values(), self.vae, self.unet

    @property
    def text_encoders(self) -> dict[str, Any]:
        """The text encoders by name; SDXL has a second."""
        return {"text_encoder": self.text_encoder}

    @property
    def tokenizers(self) -> dict[str, Any]:
        """The tokenizers by name, in the order of the text encoders."""
        return {"tokenizer": self.tokenizer}

    @property
    def idle_parameters(self) -> list[torch.nn.Parameter]:
        """Parameters behind what the U-Net is told, which nothing can train; SDXL has some."""
        return []

    def freeze(self) -> StableDiffusion:
        """Switch gradients and training mode off in every part, in place; returns itself."""
        for model in self.models:
            model.requires_grad_(False).eval()
        return self

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> StableDiffusion:
        """Move every part, in place as torch does; returns itself."""
        for model in self.models:
            if device is not None:
                model.to(device=device)
            own = None if dtype is None else self._dtype_of(model, dtype)
            if own is not None and model.dtype != own:  # diffusers warns at every cast
                model.to(dtype=own)
        return self

    def let_go(self, *parts: str) -> None:
        """Free the weights of parts, by name, of a model that trains in place; others keep them."""
        for name in parts if self.in_place else ():
            for weight in getattr(self, name).parameters():
                weight.data = weight.data.new_empty(0)

    def bring_back(self, *parts: str) -> list[str]:
        """Read those of the parts, or of all, that were let go of again; return their names."""
        names = parts or ("vae", *self.text_encoders)
        away = [name for name in names if next(getattr(self, name).parameters()).numel() == 0]
        if away:
            from sdlearn.models.loading import read_again

            read_again(self, away)
        return away

    @contextmanager
    def whole(self, *parts: str) -> Iterator[None]:
        """Have parts, or all, for a while; those that were let go of are let go of again."""
        away = self.bring_back(*parts)
        try:
            yield
        finally:
            self.let_go(*away)

    def check_size(self, size: int) -> None:
        """Raise ValueError unless the U-Net can halve latents of `size` pixels all the way down."""
        step = self.size_step
        if size < step or size % step:
            raise ValueError(
                f"{size} pixels do not fit {self.name or 'this model'}: give a multiple of {step}"
            )

    def encode_prompt(self, prompts: Sequence[str]) -> torch.Tensor:
        """Encode prompts as `encoder_hidden_states` (B, L, D): all that SD 1 and 2 take."""
        return self.condition(prompts).encoder_hidden_states

    def condition(self, prompts: Sequence[str], **text_encoders: Any) -> Conditioning:
        """Encode prompts as all that the U-Net takes; what is over L tokens is cut off.

        `text_encoders`, by their names, run instead of the model's own: those that train.
        """
        return self.encode(self.tokenize(prompts).to(self.text_encoder.device), **text_encoders)

    def tokenize(self, prompts: Sequence[str]) -> torch.Tensor:
        """Turn prompts into `input_ids` (B, L), int64, padded to the text encoder's length."""
        length = self.text_encoder.config.max_position_embeddings
        return token_ids(self.tokenizer, prompts, length)

    def encode(self, input_ids: torch.Tensor, **text_encoders: Any) -> Conditioning:
        """Encode `input_ids`, as `tokenize` makes them; for `text_encoders` see `condition`."""
        models = self.text_encoders | text_encoders
        return Conditioning(models["text_encoder"](input_ids)[0])  # (B, L, D)

    def pipeline(self, scheduler: SchedulerMixin | None = None) -> StableDiffusionPipeline:
        """Make diffusers' own pipeline of these parts, which it shares, without copying them.

        The sampler is DPM-Solver++ (2M) unless another is given: of diffusers' samplers it needs
        the fewest steps, 20 or so. There is no safety checker.

        Source: Lu et al. 2022, arXiv:2211.01095.
        """
        pipeline = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=scheduler or self.sampler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        return self._ready(pipeline)

    def draw(
        self,
        prompts: str | Sequence[str],
        *,
        seeds: int | Sequence[int] = 0,
        batch_size: int | None = None,
        scheduler: SchedulerMixin | None = None,
        desc: str | None = "drawing",
        **settings: Any,
    ) -> list[Any]:
        """Draw pictures with diffusers' own pipeline, RGB, in the order of prompts and seeds.

        Each picture has a random generator of its own on the CPU, so that it is the same whatever
        is drawn beside it, up to rounding; with equal `batch_size` it is the same to the last bit.

        Args:
            prompts: one a picture; a single one is drawn from each of the seeds.
            seeds: one a picture; of a number that of the first, and the next take the next ones.
            batch_size: pictures drawn at once, which need memory; None: all.
            scheduler: the sampler; None: see `sampler`.
            desc: of the progress bar, which counts sampler steps; None: there is no bar.
            settings: any of the pipeline's, by their names in diffusers. Unless given,
                `num_inference_steps` is 20, `guidance_scale` 5, and the size the model's own.
                `negative_prompt` is one for all pictures.

        Raises ValueError where prompts and seeds are not as many, and for more steps than the
        model's own sampler can take.
        """
        pairs = _pairs(prompts, seeds)
        at_once = batch_size or max(1, len(pairs))
        settings = self._settings(settings, is_own_sampler=scheduler is None)
        callback, negative = (settings.pop(n) for n in ("callback_on_step_end", "negative_prompt"))
        pipeline = self.pipeline(scheduler)
        pipeline.set_progress_bar_config(disable=True)
        drawn: list[Any] = []
        total = len(pairs) * settings["num_inference_steps"]
        with tqdm(total=total, desc=desc, unit="step", leave=False, disable=desc is None) as bar:
            for start in range(0, len(pairs), at_once):
                part = pairs[start : start + at_once]
                drawn += pipeline(
                    [prompt for prompt, _ in part],
                    negative_prompt=None if negative is None else [negative] * len(part),
                    generator=[torch.Generator("cpu").manual_seed(seed) for _, seed in part],
                    callback_on_step_end=_counted(bar, len(part), callback),
                    **settings,
                ).images
        return drawn

    def sampler(self) -> SchedulerMixin:
        """Make the sampler that pipelines draw with unless told otherwise."""
        return DPMSolverMultistepScheduler.from_config(
            self.noise_scheduler.config, timestep_spacing="linspace"
        )

    def with_artefact(self, path: str | Path, scale: float = 1.0) -> StableDiffusion:
        """Return this model with something learned put in; see `sdlearn.models.with_artefact`."""
        from sdlearn.models.artefact import with_artefact

        return with_artefact(self, path, scale)

    def facts(self) -> dict[str, Any]:
        """Return what identifies the model in a file made from it."""
        return {"base_model": self.name, "image_size": self.image_size}

    def _settings(self, settings: dict[str, Any], is_own_sampler: bool) -> dict[str, Any]:
        """Return the settings of a pipeline's call, with what was left out; raise ValueError."""
        settings = {
            "num_inference_steps": STEPS,
            "guidance_scale": GUIDANCE_SCALE,
            "height": self.image_size,
            "width": self.image_size,
            "negative_prompt": None,
            "callback_on_step_end": None,
            **settings,
        }
        if is_own_sampler:
            check_steps(settings["num_inference_steps"], self.noise_scheduler)
        return settings

    def _dtype_of(self, model: Any, dtype: torch.dtype) -> torch.dtype:
        """The dtype that a part has where `dtype` is asked for."""
        return dtype

    def _ready(self, pipeline: Any) -> Any:
        self.bring_back()
        if len({model.dtype for model in self.models}) > 1:
            take_any_dtype(self.unet, self.vae)
        return pipeline.to(self.device)


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str], length: int) -> torch.Tensor:
    """Turn prompts into ids (B, length), int64, padded or cut off; learned tokens written out.

    Warns of what is cut off.
    """
    for prompt in prompts:
        check_utf8(prompt, "a prompt")
    texts = [expand_prompt(prompt, tokenizer) for prompt in prompts]
    encoded = tokenizer(
        texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    full = encoded.attention_mask.all(dim=1).tolist()  # only these can have been cut
    warn_of_cut([text for text, own in zip(texts, full, strict=True) if own], tokenizer, length)
    return encoded.input_ids


def _pairs(prompts: str | Sequence[str], seeds: int | Sequence[int]) -> list[tuple[str, int]]:
    """Return prompt and seed of each picture; raise ValueError where they are not as many."""
    if isinstance(prompts, str):
        prompts = [prompts] * (1 if isinstance(seeds, int) else len(seeds))
    if isinstance(seeds, int):
        seeds = range(seeds, seeds + len(prompts))
    if len(prompts) != len(seeds):
        raise ValueError(f"there are {len(prompts)} prompts and {len(seeds)} seeds: give as many")
    return list(zip(prompts, seeds, strict=True))


def _counted(bar: tqdm, pictures: int, callback: Any) -> Any:
    """Return a pipeline's step callback that moves a bar on and then calls another, if any."""

    def count(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> Any:
        bar.update(pictures)
        return tensors if callback is None else callback(pipeline, step, timestep, tensors)

    return count
