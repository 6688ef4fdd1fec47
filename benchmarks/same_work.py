"""One piece of work for two programs: the model, the pictures, and the commands of either side.

Both sides have the same batch, size, pictures, number of steps and seed, a constant learning rate,
no checkpoints, float32, and every setting that changes what a step computes alike: flips, clipping,
averages, LoRA rank. diffusers' scripts read the pictures anew each step, ours once, before it.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModel

from sdlearn.data.characters import draw_character
from sdlearn.data.folder import write_pictures
from sdlearn.models import save_text_encoder
from sdlearn.models.architectures import ARCHITECTURES
from sdlearn.models.clip_tokenizer import clip_tokenizer
from sdlearn.models.registry import shipped_folder
from sdlearn.plan.blank import blank_model

PICTURES = 16
CLASS_PICTURES = 100  # both programs' default
INSTANCE, CLASS = "a picture of sks person", "a picture of a person"

SCRIPTS = {
    "textual-inversion": "textual_inversion/textual_inversion.py",
    "dreambooth": "dreambooth/train_dreambooth.py",
    "dreambooth, its savers": "dreambooth/train_dreambooth.py",
    "dreambooth, text encoder": "dreambooth/train_dreambooth.py",
    "dreambooth, lora": "dreambooth/train_dreambooth_lora.py",
    "lora": "text_to_image/train_text_to_image_lora.py",
    "full": "text_to_image/train_text_to_image.py",
    "imagic": "community/imagic_stable_diffusion.py",
}
SD15 = ", sd15"  # after a method's name: with Stable Diffusion 1.5 at full size, random weights
SCRIPTS |= {f"{name}{SD15}": SCRIPTS[name] for name in ("textual-inversion", "lora")}
PRIOR = "--center_crop --with_prior_preservation --learning_rate 2e-6"
THEIRS = {  # beyond what all scripts are given
    "textual-inversion": "--placeholder_token <cat-toy> --initializer_token toy --num_vectors 1 "
    "--learning_rate 5e-4 --save_steps 1000000",
    "dreambooth": PRIOR,
    "dreambooth, its savers": f"{PRIOR} --pre_compute_text_embeddings --set_grads_to_none",
    "dreambooth, text encoder": f"{PRIOR} --train_text_encoder --set_grads_to_none",
    "dreambooth, lora": f"{PRIOR} --rank 4",
    "lora": "--center_crop --random_flip --rank 4 --learning_rate 1e-4",
    "full": "--center_crop --random_flip --use_ema --foreach_ema --learning_rate 1e-5",
}
ATTENTION = "to_q to_k to_v to_out.0"  # what the scripts put a LoRA on
OURS = {
    # the script always mirrors half of the pictures, and never clips
    "textual-inversion": "textual-inversion --placeholder-token <cat-toy> --initializer-token toy "
    "--learning-rate 5e-4 --random-flip --max-grad-norm 0",
    "dreambooth": "dreambooth --learning-rate 2e-6",
    "dreambooth, its savers": "dreambooth --learning-rate 2e-6",
    "dreambooth, text encoder": "dreambooth --learning-rate 2e-6 --train-text-encoder",
    "dreambooth, lora": "dreambooth --learning-rate 2e-6 --lora-rank 4 "
    f"--lora-target-modules {ATTENTION}",
    "lora": f"lora --rank 4 --learning-rate 1e-4 --random-flip --target-modules {ATTENTION}",
    "full": "full --learning-rate 1e-5 --random-flip --use-ema --lr-scheduler constant "
    "--lr-warmup-steps 0 --snr-gamma None --caption-dropout 0 --no-aspect-ratio-buckets",
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What both sides train on; the defaults are mini's, for a CPU."""

    model: Path | None = None  # diffusers folder; None: mini with the real models' vocabulary
    resolution: int = 64  # pixels; the pictures on disk have twice that, as people's own are larger
    batch: int = 4  # pictures a step; DreamBooth has as many class pictures beside them
    mixed_precision: str = "no"  # or bf16, for a GPU
    full_size: bool = False  # instead of mini Stable Diffusion 1.5 with random weights


FULL_SIZE = Work(resolution=256, batch=1, full_size=True)  # which a CPU can do a few steps of


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A folder with what both sides are given."""

    folder: Path
    work: Work

    @property
    def model(self) -> Path:
        """The model that is given, or mini with the vocabulary of the real ones."""
        return self.work.model or self.folder / "model"

    @property
    def captioned(self) -> Path:
        """Pictures with captions in metadata.jsonl."""
        return self.folder / "captioned"

    @property
    def bare(self) -> Path:
        """The same pictures alone, as two of the scripts take every file for a picture."""
        return self.folder / "bare"

    @property
    def single(self) -> Path:
        """One picture at the training size, which Imagic's pipeline does not scale to."""
        return self.folder / "single.png"

    def classes(self, side: str) -> Path:
        """The class pictures: the same for both, in a folder for each, as ours keeps a record."""
        return self.folder / f"class-{side}"


def write_model(folder: Path) -> None:
    """Mini with CLIP's own 49 408 tokens, and a text encoder of random weights for them."""
    mini = shipped_folder("mini")
    shutil.copytree(mini, folder, ignore=shutil.ignore_patterns("judges", "text_encoder"))
    tokenizer = clip_tokenizer()
    shutil.rmtree(folder / "tokenizer")
    tokenizer.save_pretrained(folder / "tokenizer")
    config = CLIPTextConfig.from_pretrained(mini / "text_encoder")
    config.vocab_size = len(tokenizer)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    torch.manual_seed(0)
    save_text_encoder(CLIPTextModel(config), folder / "text_encoder")


def write_full_size_model(folder: Path) -> None:
    """Stable Diffusion 1.5 without having learnt anything: a step takes as much with it."""
    torch.manual_seed(0)
    blank = blank_model(ARCHITECTURES["sd15"], torch.float32, device="cpu")
    sd = replace(blank, tokenizer=clip_tokenizer())
    sd.pipeline(sd.noise_scheduler).save_pretrained(folder, max_shard_size="20GB")


def prepare_ground(folder: Path, work: Work) -> Ground:
    """Write the pictures, and the model unless one is given."""
    ground, size = Ground(folder=folder, work=work), work.resolution
    folder.mkdir(exist_ok=True)
    if work.model is None:
        (write_full_size_model if work.full_size else write_model)(ground.model)
    pictures = draw_character("lorelei", 1, number=PICTURES, size=2 * size)
    write_pictures(ground.captioned, pictures)
    ground.bare.mkdir()
    for path in ground.captioned.glob("*.png"):
        shutil.copy(path, ground.bare)
    pictures[0].image.resize((size, size)).save(ground.single)
    others = draw_character("lorelei", 2, number=CLASS_PICTURES, size=size)
    for side in ("ours", "theirs"):
        ground.classes(side).mkdir()
        for number, picture in enumerate(others):
            picture.image.save(ground.classes(side) / f"class-{number:05d}.png")
    return ground


def imagic_steps(steps: int) -> tuple[int, int]:
    """Steps of either stage: as 1 to 2, like the pipeline's own 500 and 1000."""
    return steps // 2, steps


def our_command(method: str, ground: Ground, output: Path, steps: int) -> list[str]:
    """PROGRAM and ARGUMENTS for `watched.py`."""
    method = method.removesuffix(SD15)
    if method == "imagic":
        return _imagic("ours", ground, steps)
    name, *own = OURS[method].split()
    common = f"--model {ground.model} --output {output} --max-train-steps {steps} --seed 0"
    common += " --samples 0"  # as the scripts draw none
    work = ground.work
    common += f" --train-batch-size {work.batch} --resolution {work.resolution}"
    common += f" --mixed-precision {work.mixed_precision}"
    command = ["sdlearn", "train", name, str(ground.captioned), *common.split(), *own]
    if name == "dreambooth":
        command += ["--instance-prompt", INSTANCE, "--class-prompt", CLASS]
        command += ["--class-data-dir", str(ground.classes("ours"))]
    return command


def their_command(
    method: str, ground: Ground, output: Path, steps: int, checkout: Path
) -> list[str]:
    """PROGRAM and ARGUMENTS for `watched.py`."""
    method = method.removesuffix(SD15)
    if method == "imagic":
        return _imagic(str(checkout), ground, steps)
    common = f"--pretrained_model_name_or_path {ground.model} --output_dir {output} --seed 0"
    work = ground.work
    common += f" --resolution {work.resolution} --train_batch_size {work.batch}"
    common += f" --gradient_accumulation_steps 1 --mixed_precision {work.mixed_precision}"
    common += f" --max_train_steps {steps} --lr_scheduler constant --lr_warmup_steps 0"
    common += " --checkpointing_steps 1000000"
    command = [str(checkout / "examples" / SCRIPTS[method]), *common.split()]
    command += THEIRS[method].split()
    if method.startswith("dreambooth"):
        command += ["--instance_data_dir", str(ground.bare), "--instance_prompt", INSTANCE]
        command += ["--class_data_dir", str(ground.classes("theirs")), "--class_prompt", CLASS]
        return [*command, "--num_class_images", str(CLASS_PICTURES)]
    if method == "textual-inversion":
        return [*command, "--train_data_dir", str(ground.bare)]
    captioned = ["--train_data_dir", str(ground.captioned)]
    return [*command, *captioned, "--cache_dir", str(ground.folder / "cache")]


def _imagic(side: str, ground: Ground, steps: int) -> list[str]:
    program = str(Path(__file__).parent / "imagic_sides.py")
    both = [str(count) for count in imagic_steps(steps)]
    return [program, side, str(ground.model), str(ground.single), *both]
