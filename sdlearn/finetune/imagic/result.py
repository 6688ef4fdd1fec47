"""What Imagic has learnt of a picture: draw it at any eta, from training or from a saved folder.

    my-edit/
        embeddings.safetensors    e_tgt (the prompt's) and e_opt (the learnt one)
        unet/                     of stage B, in diffusers' format
        lora/                     instead, where stage B was trained as LoRA
        artefact.json             base model, configuration, training size, the chosen eta

Without stage B there is neither `unet/` nor `lora/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from sdlearn.finetune.config import ImagicConfig
from sdlearn.finetune.imagic.embedding import EMBEDDINGS_NAME, interpolate, read_embeddings
from sdlearn.finetune.imagic.eta import EtaChoice, choose_eta, likeness
from sdlearn.finetune.saving import INNER_LORA
from sdlearn.models.artefact import with_artefact
from sdlearn.models.conditioning import Conditioning
from sdlearn.models.records import RECORD_NAME, read_record, write_record
from sdlearn.models.samplers import SamplerName, check_steps, make_sampler

if TYPE_CHECKING:
    from PIL import Image

    from sdlearn.finetune.imagic.eta import Measure
    from sdlearn.models import StableDiffusion


@dataclass(frozen=True, kw_only=True)
class ImagicResult:
    """A picture's edit: the tuned model and the two embeddings between which eta chooses."""

    sd: StableDiffusion  # with the tuned U-Net
    base: StableDiffusion  # as it was
    config: ImagicConfig
    e_tgt: Conditioning  # of the target prompt, one row
    e_opt: Conditioning  # learnt from the picture, one row
    size: int  # pixels, height and width of training and so of drawing
    eta: float | None = None  # the chosen one
    sampler: SamplerName = "dpm++"  # to draw with; etas are chosen by this one

    def embedding(self, eta: float) -> Conditioning:
        """Return the embedding at an eta: e_opt at 0, e_tgt at 1; see `interpolate`."""
        return interpolate(self.e_tgt, self.e_opt, eta)

    def draw(self, etas: Sequence[float], seed: int | None = None, **settings: Any) -> list[Any]:
        """Draw a picture at each eta, all from one noise: a function of eta and seed alone.

        `seed` is the configuration's unless given. `settings` go to diffusers' pipeline, such as
        `guidance_scale`; the size is that of training. Raises ValueError for more steps than the
        sampler can take.
        """
        seed = self.config.noise_seed if seed is None else seed
        pipeline: Any = self.sd.pipeline(make_sampler(self.sampler, self.sd.noise_scheduler))
        pipeline.set_progress_bar_config(disable=True)
        chosen = {
            "num_inference_steps": self.config.num_inference_steps,
            "guidance_scale": self.config.guidance_scale,
            **settings,
        }
        check_steps(chosen["num_inference_steps"], self.sd.noise_scheduler, self.sampler)
        images = []
        for eta in tqdm(
            etas, desc="draw", leave=False, delay=2
        ):  # one at a time: a batch changes the last bits
            embedding = self.embedding(eta).to(self.sd.device, self.sd.text_encoder.dtype)
            states = {"prompt_embeds": embedding.encoder_hidden_states}
            if embedding.text_embeds is not None:
                states["pooled_prompt_embeds"] = embedding.text_embeds
            generator = torch.Generator("cpu").manual_seed(seed)
            images += pipeline(
                **states, height=self.size, width=self.size, generator=generator, **chosen
            ).images
        return images

    def find_eta(
        self,
        picture: Image.Image,
        faithfulness: Measure | None = None,
        edit_strength: Measure | None = None,
    ) -> tuple[EtaChoice, list[Image.Image]]:
        """Draw the configuration's etas and choose one; see `choose_eta` for the rule.

        `faithfulness` says how much pictures look like `picture`, by `likeness` unless given;
        `edit_strength` how well they fit the target prompt, not looked at unless given. What never
        saw the picture is drawn by the base model, from the target prompt and the same noise.
        """
        images = self.draw(self.config.etas)
        faithfulness = faithfulness or likeness(picture)
        unrelated = replace(self, sd=self.base).draw([1.0])
        choice = choose_eta(
            self.config.etas,
            faithfulness(images),
            None if edit_strength is None else edit_strength(images),
            unrelated=faithfulness(unrelated)[0],
            keep=self.config.keep,
        )
        return choice, images


def is_imagic(path: str | Path) -> bool:
    """Whether a path is a folder that Imagic saved."""
    folder = Path(path).expanduser()
    method = read_record(folder).get("method")
    return method == "imagic" or (method is None and (folder / EMBEDDINGS_NAME).is_file())


def load_imagic(sd: StableDiffusion, path: str | Path) -> ImagicResult:
    """Open what `Imagic.save` wrote, on the model it was made from, which is not changed.

    Raises FileNotFoundError where the folder is missing or of another method, and ValueError where
    it was made from another model, or its record does not say how.
    """
    folder = Path(path).expanduser()
    e_tgt, e_opt = read_embeddings(folder, "e_tgt", "e_opt")
    record, config = _read_edit(folder)
    width = sd.unet.config.cross_attention_dim
    if e_opt.encoder_hidden_states.shape[-1] != width:
        raise ValueError(
            f"{folder} has embeddings {e_opt.encoder_hidden_states.shape[-1]} wide and this model "
            f"takes {width}: load {record['base_model']}, which it was made from"
        )
    tuned = folder if config.lora_rank is None else folder / INNER_LORA
    return ImagicResult(
        sd=with_artefact(sd, tuned) if record["has_unet"] else sd,
        base=sd,
        config=config,
        e_tgt=e_tgt.to(sd.device),
        e_opt=e_opt.to(sd.device),
        size=record["size"],
        eta=record["eta"],
    )


def _read_edit(folder: Path) -> tuple[dict[str, Any], ImagicConfig]:
    """An edit's record and its configuration; ValueError where either is not whole."""
    record = {"chosen": None, **read_record(folder)}
    try:
        for name in ("base_model", "size", "has_unet"):
            record[name]
        record["eta"] = float(record["chosen"]["eta"]) if record["chosen"] else None
        record["size"] = int(record["size"])
        config = ImagicConfig(**{**record["config"], "etas": tuple(record["config"]["etas"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / RECORD_NAME} is missing or does not say how the edit was made ({error}): "
            "put the saved folder back as it was, or train it again"
        ) from error
    return record, config


def note_choice(path: str | Path, choice: EtaChoice) -> None:
    """Write the chosen eta and what led to it into a saved folder's record."""
    folder = Path(path).expanduser()
    write_record(folder, {**read_record(folder), "chosen": asdict(choice)})
