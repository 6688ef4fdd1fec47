# %% [markdown]
# # 5. Stable Diffusion: three parts, and how they are joined
#
# **In an hour** you will have joined a text encoder, a U-Net and a VAE by hand, drawn the same picture
# as the ready-made pipeline, to the last bit, and seen which word each place of a picture listens to.
#
# You need: chapter 2 (a network that answers "which noise?").
#
# **Before you run anything, write down:** a prompt is text, a picture is pixels. Which of the three
# parts would you throw away first, if you only wanted *some* picture?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## The parts
#
# Mini is small, but complete: every part is of the same kind as in Stable Diffusion 1.5. Where a name
# stands here, another model's would do: `load("sd15")` on a GPU runs this whole notebook.

# %%
import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import show_pictures

sd = load("mini", device=device)
for name, part in {"text encoder": sd.text_encoder, "U-Net": sd.unet, "VAE": sd.vae}.items():
    parameters = sum(p.numel() for p in part.parameters())
    print(f"{name:13} {type(part).__name__:22} {parameters / 1e6:6.2f} million parameters")

# %% [markdown]
# ## Text in: the text encoder
#
# A tokenizer cuts the prompt into tokens, each a row of a table. The text encoder turns the rows into
# vectors that know their neighbours.

# %%
prompt = "a smiling person with purple hair and round glasses, on a yellow background"
for text in (prompt, "紫の髪で丸眼鏡をかけた笑顔の人、黄色い背景"):
    ids = sd.tokenizer(text).input_ids
    print(len(ids), "tokens:", " | ".join(sd.tokenizer.decode([i]).strip() for i in ids))

states = sd.encode_prompt([prompt])  # (1, L, D)
print("the U-Net is given", tuple(states.shape), "numbers")

# %% [markdown]
# However short the prompt, the U-Net gets the same number of vectors: what is missing is filled up with
# end tokens. **Guess:** mini's tokenizer was trained on two languages. What would CLIP's, trained on
# English, make of the second prompt? (Chapter 1 shows it.)

# %% [markdown]
# ## Pictures out: the VAE
#
# The VAE makes a small code of a picture, and a picture of a code. For each number of the code it gives a
# mean and a spread; we take the mean. Then the code is multiplied by one fixed number, the **scaling
# factor**, so that its standard deviation is near 1, like that of noise. Before decoding it is divided by
# it again. The U-Net only ever sees scaled codes: **latents**.

# %%
from sdlearn.data.folder import to_pixel_values
from sdlearn.data.render import draw

character = {"style": "open-peeps", "hair": "bob", "hair_color": "red", "expression": "laughing",
             "glasses": "sunglasses", "clothes_color": "blue", "background": "turquoise"}
size, scaling_factor = sd.image_size, sd.vae.config.scaling_factor
pixel_values = to_pixel_values(draw(character, size), size)[None].to(device)  # (1, 3, H, W)
with torch.no_grad():
    latents = sd.vae.encode(pixel_values).latent_dist.mean * scaling_factor  # (1, 4, h, w)
    back = sd.vae.decode(latents / scaling_factor).sample
    of_noise = sd.vae.decode(torch.randn_like(latents) / scaling_factor).sample
print(f"{pixel_values.numel()} numbers became {latents.numel()}; "
      f"their standard deviation is {latents.std():.2f}")
show_pictures([pixel_values[0], back[0], of_noise[0]],
              ["the picture", "there and back", "code of pure noise"], size=2);

# %% [markdown]
# There and back loses little. But noise decoded is no picture: **the VAE alone cannot draw.** It turns
# codes into pixels, and somebody else has to find a good code.

# %% [markdown]
# ## In between: the U-Net
#
# It is asked the question of chapter 2, about latents and with the prompt's vectors beside it.

# %%
noisy = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device)
with torch.no_grad():
    model_pred = sd.unet(noisy, 999, states).sample
print("in:", tuple(noisy.shape), "out:", tuple(model_pred.shape))
for name, block in [*((f"down {i}", block) for i, block in enumerate(sd.unet.down_blocks, 1)),
                    ("middle", sd.unet.mid_block),
                    *((f"up {i}", block) for i, block in enumerate(sd.unet.up_blocks, 1))]:
    attends = bool(getattr(block, "attentions", None))
    print(f"{name:8} {type(block).__name__:24} {'reads the prompt' if attends else ''}")

# %% [markdown]
# ## Guidance
#
# Asked with the prompt, the U-Net gives one answer; asked with an empty prompt, another. The difference
# is what the prompt is about. Guidance goes further in that direction than the network would.
#
# ### Exercise 1: guidance
#
# <details><summary>Hint</summary>
#
# Start at the answer without the prompt. At `guidance_scale` 1 the result must be the answer with it, at
# 0 the one without.
#
# </details>

# %%
def guide(noise_pred_uncond, noise_pred_text, guidance_scale):
    """One answer of two: beyond the one with the prompt, away from the one without."""
    ### BEGIN SOLUTION
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
    ### END SOLUTION

# %%
checks.guide(guide)

# %% [markdown]
# ### Exercise 2: from latents to a picture
#
# The last step of every pipeline. `vae.decode(latents).sample` gives numbers from -1 to 1, more or less;
# a picture has bytes.
#
# <details><summary>Hint</summary>
#
# Three things are easily forgotten: the scaling factor goes off before decoding, values beyond -1 and 1
# have to be cut off, and 1 must become 255.
#
# </details>

# %%
def to_picture(latents, vae):
    """Scaled latents (1, 4, h, w) -> bytes (H, W, 3), a torch.uint8 tensor."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        pixels = vae.decode(latents / vae.config.scaling_factor).sample[0]  # (3, H, W)
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    ### END SOLUTION

# %%
checks.to_picture(to_picture)

# %% [markdown]
# ## All of it by hand
#
# This is Stable Diffusion. Nothing is left out. (The sampler is diffusers' DDIM; chapter 2 has its step,
# chapter 3 the others.)

# %%
from diffusers import DDIMScheduler

def draw_by_hand(prompt, seed=0, steps=20, guidance_scale=5.0):
    scheduler = DDIMScheduler.from_config(sd.noise_scheduler.config)
    scheduler.set_timesteps(steps, device=device)
    states = torch.cat([sd.encode_prompt([""]), sd.encode_prompt([prompt])])  # (2, L, D)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn((1, 4, *noisy.shape[2:]), generator=generator).to(device)
    latents = latents * scheduler.init_noise_sigma
    with torch.no_grad():
        for t in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([latents, latents]), t)
            noise_pred_uncond, noise_pred_text = sd.unet(both, t, states).sample.chunk(2)
            noise_pred = noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)
            latents = scheduler.step(noise_pred, t, latents).prev_sample
        return latents, sd.vae.decode(latents / scaling_factor).sample

latents_by_hand, by_hand = draw_by_hand(prompt)

# %% [markdown]
# And the pipeline that everybody uses, with the same seed:

# %%
pipeline = sd.pipeline(DDIMScheduler.from_config(sd.noise_scheduler.config))
pipeline.set_progress_bar_config(disable=True)
ready_made = pipeline(prompt, num_inference_steps=20, guidance_scale=5.0, output_type="latent",
                      generator=torch.Generator().manual_seed(0)).images
difference = (ready_made - latents_by_hand).abs().max().item()
print(f"largest difference between the two: {difference}")
assert difference == 0
show_pictures([by_hand[0]], ["by hand"], size=2.5);

# %% [markdown]
# Zero: the pipeline does nothing else. **Change one thing and look again,** in a new cell:
# `show_pictures([draw_by_hand(prompt, guidance_scale=g)[1][0] for g in (1.0, 5.0, 12.0)], ["1", "5", "12"]);`
# What becomes of the yellow, and what of the face?

# %% [markdown]
# ## Which word is listened to where
#
# In each block that reads the prompt, every place of the latents asks: which of these tokens is about me?
# The answers are shares that add up to one. The maps leave out the start and end tokens, which take a part
# as well. (The package draws with another sampler, so the picture may differ from the one above.)

# %% tags=["cover"]
from sdlearn.course.attention import show_word_maps, word_maps

image, maps = word_maps(sd, prompt, seed=0)
show_word_maps(image, maps);

# %% [markdown]
# Every map has a scale of its own: bright is where this word was listened to most. So you can compare places
# within one map, but not two maps. **Look for two things:** a word whose map has the shape of what it names,
# and a colour whose map lies on its noun.

# %% [markdown]
# ### Exercise 3: the loudest word
#
# Which token does the *middle* of the picture listen to most? Write a function that takes the maps, looks
# at the four values in the middle of each, and returns the token with the largest mean. The colours cannot
# tell you, as each map has its own scale. The numbers can.
#
# <details><summary>Hint</summary>
#
# `maps[i].weights` is an `(h, w)` tensor and `maps[i].word` its token. The middle is
# `weights[h // 2 - 1 : h // 2 + 1, w // 2 - 1 : w // 2 + 1]`.
#
# </details>

# %%
def loudest(maps):
    """The word whose map is largest in the middle of the picture."""
    ### BEGIN SOLUTION
    def middle(weights):
        h, w = weights.shape
        return weights[h // 2 - 1 : h // 2 + 1, w // 2 - 1 : w // 2 + 1].mean()

    return max(maps, key=lambda m: middle(m.weights)).word
    ### END SOLUTION

# %%
print(f"the middle of this picture listens to “{loudest(maps)}” most")
checks.loudest(loudest)

# %% [markdown]
# ## What each part can and cannot do alone
#
# Take the parts away one at a time.

# %%
drawn = {"all three": by_hand[0], "without the prompt": draw_by_hand("", guidance_scale=1.0)[1][0]}
drawn["without the U-Net"] = of_noise[0]
small = latents_by_hand[0, :3] / latents_by_hand.abs().max()  # three of the four channels, as colours
drawn["without the VAE"] = torch.nn.functional.interpolate(small[None], scale_factor=sd.vae_reduction)[0]
show_pictures(list(drawn.values()), list(drawn), size=2.2);

# %% [markdown]
# Without the prompt there is still a person, just any person: **the U-Net knows what pictures look like,
# the text encoder only says which one.** Without the VAE the picture is there already, small and in wrong
# colours. The VAE only translates, and it does so for any picture. So the methods of the next chapters
# leave it alone.

# %% [markdown]
# ### Exercise 4: an open question
#
# Write a loop that draws the first half of the steps with one prompt and the second half with another
# ("a sad person, on a blue background" and "a laughing person, on a red background"). Then change the step
# at which it switches. From which step on is the background fixed, and from which the expression? Explain
# it with the pictures at the end of chapter 2.

# %% [markdown]
# ## What you have learnt
#
# - The text encoder turns a prompt into vectors, the U-Net finds latents that fit them, and the VAE turns
#   latents into pixels; fewer than twenty lines join them.
# - Guidance is one subtraction, and it costs a second pass through the U-Net.
# - Words are tied to places by attention, which can be looked at.
#
# **What would break** if the latents were not scaled? (The noise schedule was made for numbers with a
# standard deviation of one.)
#
# **Papers:** Rombach et al. 2021, arXiv:2112.10752; Ho and Salimans 2022, arXiv:2207.12598 (guidance);
# Hertz et al. 2022, arXiv:2208.01626, and Tang et al. 2022, arXiv:2210.04885 (attention maps).
