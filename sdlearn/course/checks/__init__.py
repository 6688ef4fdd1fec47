"""Checks of the exercises: `checks.add_noise(add_noise)` says if an answer is right, or why not.

They need no files, no network and no notebook metadata. Every check of the course is a function
here, named after what it checks.
"""

from sdlearn.course.checks.answers import Check, Right, WrongAnswer
from sdlearn.course.checks.choosing import choose, paired_interval, shelf, unbeaten
from sdlearn.course.checks.clip import contrastive_loss, recall, room, similarities
from sdlearn.course.checks.diffusion import add_noise, ddim_step, half_gone, predict_original
from sdlearn.course.checks.dreambooth import (
    count_trained,
    instance_prompt,
    prior_preservation_loss,
)
from sdlearn.course.checks.full import cut_away, ema_update, training_cost
from sdlearn.course.checks.imagic import interpolate_embeddings, kept_share, largest_edit
from sdlearn.course.checks.latent import attention_pairs, kl, psnr, scaling_factor
from sdlearn.course.checks.lora import first_to_move, low_rank_update, rank_for
from sdlearn.course.checks.rights import may_use, nearest, read_settings
from sdlearn.course.checks.sampling import order, slerp, unet_runs
from sdlearn.course.checks.stable_diffusion import guide, loudest, to_picture
from sdlearn.course.checks.start import credit, repeatable, training_bytes
from sdlearn.course.checks.textual_inversion import count_new, keep_old_rows, nearest_rows

CHAPTERS: dict[str, tuple[Check, ...]] = {  # for grading: what each chapter asks
    "00": (repeatable, training_bytes, credit),
    "01": (similarities, contrastive_loss, recall, room),
    "02": (add_noise, predict_original, ddim_step, half_gone),
    "03": (order, unet_runs, slerp),
    "04": (psnr, kl, scaling_factor, attention_pairs),
    "05": (guide, to_picture, loudest),
    "06": (ema_update, cut_away, training_cost),
    "07": (keep_old_rows, nearest_rows, count_new),
    "08": (prior_preservation_loss, count_trained, instance_prompt),
    "09": (interpolate_embeddings, kept_share, largest_edit),
    "10": (low_rank_update, first_to_move, rank_for),
    "11": (unbeaten, shelf, paired_interval, choose),
    "12": (may_use, nearest, read_settings),
}
