"""What a training run needs, found by running its code once on tensors without numbers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from sdlearn.finetune.denoising import training_size
from sdlearn.plan.blank import blank_model
from sdlearn.plan.ledger import DeviceEmulation, Ledger
from sdlearn.plan.stages import PROMPT, placeholders, stages
from sdlearn.training.accelerator import recomputed
from sdlearn.training.batches import ProcessRank

if TYPE_CHECKING:
    from tqdm.auto import tqdm

    from sdlearn.models import Conditioning
    from sdlearn.models.architectures import Architecture
    from sdlearn.plan.config import MethodName, PlanConfig
    from sdlearn.training.config import FitConfig

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALL = 4096  # numbers; bitsandbytes keeps the moments of smaller tensors in 32 bits
OF_THE_LOOP = ("use_ema", "use_8bit_adam", "gradient_checkpointing", "mixed_precision")
SCALED = 256  # numbers that share a float32 scale in bitsandbytes' 8-bit moments


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes while training, by what they hold; `total` is the most that is there at once."""

    weights: int  # of all parts, frozen ones and copies that train
    gradients: int
    moments: int  # the optimizer's two, of each number that trains
    ema: int  # the moving average
    activations: int  # kept for the backward pass, and its working space
    caches: int  # VAE moments and caption states
    preparing: int  # working space while pictures are drawn and encoded, before training

    @property
    def total(self) -> int:
        """The most that is there at once: while training, or while preparing."""
        kept = self.weights + self.ema + self.caches
        step = self.gradients + self.moments + self.activations
        return kept + max(step, self.preparing)


@dataclass(frozen=True, kw_only=True)
class StageNeeds:
    """What one run of the loop needs."""

    name: str  # the method's
    steps: int  # optimizer steps
    sizes: tuple[int, ...]  # numbers in each tensor that trains
    memory: Memory
    flops: float  # an optimizer step; multiplications and additions, each
    preparing_flops: float  # drawing and encoding pictures, before training
    drawn_pixels: int  # of the class pictures that are drawn first, all together

    @property
    def trained(self) -> int:
        """Parameters that train."""
        return sum(self.sizes)


class Tracer:
    """Finds what each stage of a method needs, for one kind of device, without weights."""

    def __init__(
        self, method: MethodName, shape: Architecture, config: PlanConfig, on_cuda: bool
    ) -> None:
        self.method, self.shape, self.config, self.on_cuda = method, shape, config, on_cuda
        self.bar: tqdm | None = None  # counts the runs
        self.known: dict[FitConfig, list[StageNeeds]] = {}
        self.runs: dict[torch.dtype, list[_StageRun]] = {}  # by that of what does not train
        self.ledger = Ledger()

    def needs(self, fit: FitConfig) -> list[StageNeeds]:
        """Return the needs of each stage under settings of the loop.

        Raises ValueError for a resolution that does not fit the model.
        """
        plain = _traced(fit)
        if plain not in self.known:
            self.known[plain] = self._trace(plain)
            if self.bar is not None:
                self.bar.update()
        return [replace(n, memory=_with_optimizer(n, fit)) for n in self.known[plain]]

    def is_known(self, fit: FitConfig) -> bool:
        """Whether the needs under some settings follow from a run that was made."""
        return _traced(fit) in self.known

    def asked(self, method: MethodName, config: PlanConfig) -> Tracer:
        """Return a tracer for other settings, which knows what does not differ with them."""
        other = Tracer(method, self.shape, config, self.on_cuda)
        other.bar = self.bar
        same = replace(config, **{name: getattr(self.config, name) for name in OF_THE_LOOP})
        if (method, same) == (self.method, self.config):
            other.known, other.runs, other.ledger = self.known, self.runs, self.ledger
        else:
            other.ledger = Ledger(self.ledger.shapes)
        return other

    def _trace(self, fit: FitConfig) -> list[StageNeeds]:
        frozen = DTYPES[fit.mixed_precision] if self.on_cuda else torch.float32
        with self.ledger, DeviceEmulation(self.on_cuda) as emulation:
            if frozen in self.runs:  # models and what they prepare are the same
                return [run.needs(fit, emulation) for run in self.runs[frozen]]
            self.runs[frozen], found = [], []
            sd = blank_model(self.shape, frozen, self.config.model)
            made = stages(self.method, sd, self.config)
            del sd  # as the program does: what a method does not hold on to is gone
            for method, steps in made:
                run = _StageRun(method, steps, self.ledger)
                run.prepare(self.config, fit)
                self.runs[frozen].append(run)
                found.append(run.needs(fit, emulation))
        return found


class _StageRun:
    """One stage, run without numbers."""

    def __init__(self, method: Any, steps: int | None, ledger: Ledger) -> None:
        self.method, self.steps, self.ledger = method, steps, ledger
        self.weights = ledger.alive
        groups = method.parameter_groups(1.0)
        self.parameters = [parameter for group in groups for parameter in group["params"]]

    def needs(self, fit: FitConfig, emulation: DeviceEmulation) -> StageNeeds:
        """Do a step, and add up what it takes with what `prepare` has found."""
        method = self.method
        sizes = tuple(parameter.numel() for parameter in self.parameters)
        trained = 4 * sum(sizes)  # bytes, float32
        method.prepare(placeholders(1), fit)
        peak, flops = self._step(fit, emulation)
        memory = Memory(
            weights=self.weights,
            gradients=trained,
            moments=2 * trained,
            ema=0,
            activations=max(0, peak - trained),
            caches=self.caches,
            preparing=self.space,
        )
        return StageNeeds(
            name=method.name,
            steps=self.steps or fit.max_train_steps,
            sizes=sizes,
            memory=memory,
            flops=flops,
            preparing_flops=self.preparing_flops,
            drawn_pixels=self._class_images() * training_size(method.sd, fit) ** 2,
        )

    def prepare(self, config: PlanConfig, fit: FitConfig) -> None:
        """Prepare a few pictures, and find the bytes of all caches, working space, and work."""
        self.method.check(placeholders(1), fit)
        (cache_1, space, flops_1), (cache_2, _, flops_2) = (self._prepared(n, fit) for n in (1, 2))
        others = self._class_images()
        more = (1 if self.method.name.startswith("imagic") else config.pictures) - 1
        more += max(0, others - 1)  # one class picture is among the few
        each = cache_2 - cache_1
        if self.method.name == "full":
            from sdlearn.finetune.full import MOST_CACHED_CAPTIONS

            if config.pictures > MOST_CACHED_CAPTIONS:  # encoded at each step instead
                each -= _bytes_of(self.method.sd.condition([PROMPT]))
        drawing, drawing_flops = self._draw(others, fit) if others else (0, 0.0)
        self.caches, self.space = cache_1 + more * each, max(space, drawing)
        self.preparing_flops = flops_1 + more * (flops_2 - flops_1) + drawing_flops

    def _class_images(self) -> int:
        has_prior = getattr(self.method, "has_prior", False)
        return self.method.config.num_class_images if has_prior else 0

    def _prepared(self, count: int, fit: FitConfig) -> tuple[int, int, float]:
        """Bytes of the caches, working space and work, of a few pictures."""
        self.ledger.restart()
        self.method.prepare(placeholders(count), fit)
        caches = self.ledger.alive - self.weights
        return caches, self.ledger.peak - self.weights - caches, self.ledger.flops

    def _draw(self, count: int, fit: FitConfig) -> tuple[int, float]:
        """Working space and work of drawing class pictures, as many at once as DreamBooth does."""
        sd, config = self.method.base, self.method.config
        at_once = min(count, config.sample_batch_size)
        size = training_size(sd, fit) // sd.vae_reduction
        shape = (at_once, sd.unet.config.in_channels, size, size)
        with torch.no_grad():
            self.ledger.restart()
            before = self.ledger.alive
            rows = sd.condition(["", PROMPT] * at_once)  # without the prompt and with it
            rows = rows.with_sizes(torch.zeros(2 * at_once, 6, device="meta"))
            latents = torch.zeros(shape, dtype=sd.unet.dtype, device="meta")
            timestep = torch.zeros((), device="meta")
            sd.unet(torch.cat([latents, latents]), timestep, **rows.unet_inputs())
            steps = self.ledger.flops * config.class_inference_steps
            self.ledger.flops = 0
            sd.vae.decode(latents.to(sd.vae.dtype))
        flops = (steps + self.ledger.flops) * count / at_once
        return self.ledger.peak - before, flops

    def _step(self, fit: FitConfig, emulation: DeviceEmulation) -> tuple[int, float]:
        """The most bytes beyond what was there, and the work, of an optimizer step."""
        method, pictures = self.method, placeholders(1)
        batches = method.make_batches(pictures, fit, ProcessRank())
        half = None if fit.mixed_precision == "no" else DTYPES[fit.mixed_precision]
        models = method.trained()
        with ExitStack() as stack:
            if fit.gradient_checkpointing:
                stack.enter_context(recomputed([method.sd.unet, *models.values()]))
            for model in models.values():
                model.train()
            self.ledger.restart()
            before = self.ledger.alive
            if fit.gradient_accumulation_steps > 1:  # from the second part on they are there
                for parameter in self.parameters:
                    parameter.grad = torch.empty_like(parameter)
            emulation.step(partial(method.loss, batches.batch(0), **models), half)
            peak, flops = self.ledger.peak - before, self.ledger.flops
        for parameter in self.parameters:
            parameter.grad = None
        for model in models.values():
            model.eval()
        return peak, flops * fit.gradient_accumulation_steps


def _traced(fit: FitConfig) -> FitConfig:
    """The settings that are run: the optimizer and the average change what is added up alone."""
    return replace(fit, use_8bit_adam=False, use_ema=False)


def _bytes_of(conditioning: Conditioning) -> int:
    parts = (conditioning.encoder_hidden_states, conditioning.text_embeds)
    return sum(part.nbytes for part in parts if part is not None)


def _with_optimizer(needs: StageNeeds, fit: FitConfig) -> Memory:
    memory = needs.memory
    if fit.use_8bit_adam:
        memory = replace(memory, moments=sum(map(_moment_bytes_8bit, needs.sizes)))
    return replace(memory, ema=4 * needs.trained if fit.use_ema else 0)


def _moment_bytes_8bit(size: int) -> int:
    """Bytes of bitsandbytes' two moments of a tensor."""
    return 8 * size if size < SMALL else 2 * size + 2 * 4 * -(-size // SCALED)
