# %% [markdown]
# # 11. Choosing: every method on one subject, in one table
#
# **In an hour** you will have trained five methods on the same character, for the same number of steps, and
# laid them side by side. You will know what cannot be had together, how sure a difference is, and what to
# ask before you choose.
#
# You need: chapters 7 (Textual Inversion), 8 (DreamBooth) and 10 (LoRA). Chapter 6 (full fine-tuning) helps.
#
# **Before you run anything, write down:** which method will draw the character best? Which will change
# other people most? Which file will be smallest, and by how much?

# %%
from sdlearn.course import start

device = start()

# %% [markdown]
# ## One subject, one budget
#
# A comparison is fair if only one thing differs. So here all methods get the same five pictures, the same
# number of optimizer steps, the same prompts and the same seeds. Everything that is the same stands in this
# cell.

# %%
import torch

from sdlearn import load
from sdlearn.course import checks
from sdlearn.course.figures import COLORS, show_pictures, show_rows
from sdlearn.course.training import steps
from sdlearn.evaluate import Judges
from sdlearn.evaluate.compare import CompareConfig, Subject, class_prompts, draw
from sdlearn.evaluate.situations import situations

budget = 60  # optimizer steps of each method: yours to change
subject = Subject(style="open-peeps", seed=7)
config = CompareConfig(prompts=4, seeds=2, class_pictures=6, train_batch_size=4, train_steps=steps(budget))
sd, judges = load("mini", device=device), Judges.load("mini")
pictures = subject.pictures()
show_pictures([p.image for p in pictures], [p.attributes["expression"] for p in pictures], size=1.8);

# %% [markdown]
# Four situations that none of the five shows, two seeds each. And the bare class: how often does *somebody
# else* turn into the character? Prior preservation needs pictures of the class too. It gets others than
# those that drift is measured on.

# %%
from sdlearn.data.folder import Picture

word = subject.class_word
drawn = draw(sd, class_prompts(word, config.class_pictures + 12), config)
class_before = drawn[:config.class_pictures]
prior = [Picture(image=image, text=f"a picture of a {word}") for image in drawn[config.class_pictures:]]
asked = situations(pictures, word, config.prompts)
for number, situation in enumerate(asked, start=1):
    print(f"situation {number}: {', '.join(situation.values())} background")

# %% [markdown]
# ## Train and measure
#
# A `Recipe` names a method and what is changed of it; all else is the method's own default. `row` does the
# same with each: teach, draw, measure.

# %%
from dataclasses import asdict

from sdlearn.evaluate.compare import (BEFORE, DREAMBOOTH, DREAMBOOTH_PRIOR, FULL, LABELS, LORA, TEXTUAL_INVERSION,
                                      draw_situations, measure, measure_class, teach)

rows, sheet = {}, {}

def row(recipe):
    """Teach the subject by a recipe; keep the figures in `rows` and the pictures in `sheet`."""
    model, cost = teach(sd, subject, recipe, config, prior if recipe.prior else ())
    groups = draw_situations(model, subject, recipe, config)
    others = class_before if recipe == BEFORE else draw(model, class_prompts(word, len(class_before)), config)
    rows[recipe.name] = {"cost": asdict(cost), **measure(judges, groups, subject, config),
                         **measure_class(judges, class_before, others, [p.image for p in pictures])}
    sheet[recipe.name] = [*(group[0] for group in groups), *others[:4]]

for recipe in (BEFORE, TEXTUAL_INVERSION, DREAMBOOTH):
    row(recipe)

# %% [markdown]
# One of these trains a single new word, the other trains everything. Now with pictures of the class in every
# step. **Predict:** how much longer does that take?

# %%
row(DREAMBOOTH_PRIOR)

# %%
for recipe in (LORA, FULL):
    row(recipe)

# %% [markdown]
# ## One sheet
#
# A row is a method. On the left the character in four situations, on the right four times just "a picture
# of a person", with the same seeds. **Look before you read any number:** in which rows is the character on
# the left? In which is it on the right as well?

# %% tags=["cover"]
titles = [*(f"situation {i}" for i in (1, 2, 3, 4)), *[f"a {word}"] * 4]
show_rows({LABELS.get(name, name).replace(" ", "\n"): images for name, images in sheet.items()},
          titles, size=1.3);

# %% [markdown]
# ## One table
#
# **Like the subject**: cosine of a judge's features with the five pictures'. **Asked and seen**: the share
# of what a prompt asks for that a reader finds in the picture. **Drift**: how much more the bare class looks
# like the subject than before. The first two should be high, the third low.

# %% tags=["nbval-ignore-output", "timed"]
from sdlearn.evaluate.bootstrap import bootstrap_mean

MEASURED = ("fidelity", "asked_and_seen", "class_drift")

def table(lines):
    heads = "".join(f"{name:>27}" for name in ("like the subject", "asked and seen", "drift"))
    print(f"{'':20}{'parameters':>12}{'file, kB':>11}{'seconds':>9}{heads}")
    for line in lines.values():
        cost = line["cost"]
        figures = ["{value:.2f} ({low:.2f} to {high:.2f})".format(**line[n]) for n in MEASURED]
        print(f"{line['label']:20}{cost['parameters']:12,.0f}{cost['artefact_bytes'] / 1000:11,.1f}"
              f"{cost['seconds']:9.0f}" + "".join(f"{words:>27}" for words in figures))

mine = {name: {"label": LABELS.get(name, name), "cost": r["cost"],
               **{n: asdict(bootstrap_mean([r[n]])) for n in MEASURED}}
        for name, r in rows.items()}
table(mine)

# %% tags=["nbval-ignore-output", "trained"]
learnt = {name: line for name, line in mine.items() if name != BEFORE.name}
def first(measure, sign):
    return max(learnt.values(), key=lambda line: sign * line[measure]["value"])["label"]

def file_size(line):
    return line["cost"]["artefact_bytes"]

small, large = min(learnt.values(), key=file_size), max(learnt.values(), key=file_size)
print(f"most like the subject: {first('fidelity', 1)}; most of what was asked: {first('asked_and_seen', 1)}; "
      f"least drift: {first('class_drift', -1)}")
times = file_size(large) / file_size(small)
print(f"the file of {large['label']} is {times:,.0f} times as large as that of {small['label']}")

# %% [markdown]
# In brackets: draw other pictures, with other prompts and seeds, and 95 times in 100 the mean would lie
# there. Pictures are few, so intervals are wide. Is one method first in everything? Was yours?
#
# **Change one thing and look again:** set `budget` to half, or to twice as many. Who gains most from
# more steps, and whose drift grows?
#
# ## Not beaten
#
# Likeness and drift pull against each other. One method **beats** another if it is no worse in both and
# better in one. What nobody beats is worth a look; the rest is not. Such a set is called a Pareto front.
#
# ### Exercise 1: who is not beaten?
#
# <details><summary>Hint</summary>
#
# Two loops: for each name, is there another that beats it? `any(...)` answers that. High likeness is good,
# and *low* drift is good. Mind equals: they do not beat each other.
#
# </details>

# %%
def unbeaten(points):
    """{name: (likeness, drift)} -> the list of names that no other name beats."""
    ### BEGIN SOLUTION
    def beats(one, other):
        return one[0] >= other[0] and one[1] <= other[1] and one != other
    return [name for name, point in points.items()
            if not any(beats(other, point) for other in points.values())]
    ### END SOLUTION

# %%
checks.unbeaten(unbeaten)

# %% [markdown]
# ## The large comparison
#
# One character and a few seeds are an anecdote. The course has run the same with twelve characters, ten
# situations and four seeds, and more steps. It takes hours, so its result ships. (`python -m experiments
# comparison --size full` makes it again, in a checkout of the course.)

# %%
from sdlearn.course.results import shipped_result

result = shipped_result("claims/comparison")
twelve = result["figures"]["rows"]
print(", ".join(f"{name} {result['size'][name]}" for name in ("subjects", "prompts", "seeds", "train_steps")))
table(twelve)
print(result["says"])

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharex=True, sharey=True)
many = f"{result['size']['subjects']} characters"
for axis, lines, title in zip(axes, (mine, twelve), ("my character", many)):
    for color, line in zip(COLORS, lines.values()):
        x, y = line["class_drift"], line["fidelity"]
        axis.plot([x["low"], x["high"]], [y["value"]] * 2, color=color, alpha=0.5)
        axis.plot([x["value"]] * 2, [y["low"], y["high"]], color=color, alpha=0.5)
        axis.plot(x["value"], y["value"], "o", color=color, label=line["label"], markersize=9)
    axis.set(title=title, xlabel="drift of the class (rise of cosine)")
axes[0].set_ylabel("like the subject (cosine)")
axes[1].legend(loc="lower right", fontsize=9);

# %% [markdown]
# Top left is where one wants to be. Who is not beaten on the right? Ask your function:
# `unbeaten({line["label"]: (line["fidelity"]["value"], line["class_drift"]["value"]) for line in
# twelve.values()})`. Does the picture on the left agree? A cell can count: for each pair of methods, is the
# order the same?

# %%
from collections import Counter
from itertools import combinations

names = [name for name in learnt if name in twelve]
pairs = list(combinations(names, 2))
def higher(lines, one, other, measured):
    return lines[one][measured]["value"] > lines[other][measured]["value"]

for measured in MEASURED:
    agree = sum(higher(mine, *pair, measured) == higher(twelve, *pair, measured) for pair in pairs)
    print(f"{measured:15} {agree} of {len(pairs)} pairs of methods stand in the same order")

by_subject = {name: twelve[name]["fidelity_by_subject"] for name in names}
winners = Counter(LABELS[max(names, key=lambda n: by_subject[n][who])] for who in by_subject[names[0]])
print("most like the subject:", ", ".join(f"{label} for {times}" for label, times in winners.most_common()))

# %% [markdown]
# The last line counts characters. If one method won for all of them, one character would be enough to know.
# Where it differs, a table of one character says something about that character. The number of steps differs
# too: a method that learns slowly looks worse with few.

# %% [markdown]
# ## How sure is a difference?
#
# Two intervals that overlap do **not** say that two methods are equal. Picture by picture both had the same
# prompt and the same seed. Some prompts are hard for both; that is common to a pair, and goes away if one
# subtracts first. Then draw the *differences* again, with repetition, and look where their mean goes: a
# **paired bootstrap**.
#
# ### Exercise 2: an interval by hand
#
# `places` says which pictures are drawn: each of its rows is one drawing of N places.
#
# <details><summary>Hint</summary>
#
# `differences[places]` has the shape of `places`: a row for each drawing. Take each row's mean, then
# `torch.quantile` of all means at 0.025 and 0.975.
#
# </details>

# %%
def paired_interval(first, second, places):
    """first, second (N,), places (samples, N) -> mean of first - second, and its 95 % low and high."""
    ### BEGIN SOLUTION
    differences = first - second
    means = differences[places].mean(1)  # (samples,)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975]))
    return differences.mean(), low, high
    ### END SOLUTION

# %%
checks.paired_interval(paired_interval)

# %% [markdown]
# On my character: DreamBooth against LoRA. And the package's `bootstrap_mean`, which the claims use.

# %% tags=["nbval-ignore-output", "trained"]
one, other = (torch.tensor(rows[r.name]["fidelity"]) for r in (DREAMBOOTH, LORA))
torch.manual_seed(0)
places, elsewhere = (torch.randint(len(one), (2000, len(one))) for _ in range(2))
ends = torch.tensor([0.025, 0.975])
low, high = torch.quantile((one - other)[places].mean(1), ends).tolist()
package = bootstrap_mean([(one - other).tolist()])
print(f"paired, by hand: {(one - other).mean():+.3f} ({low:+.3f} to {high:+.3f})")
print(f"the package:     {package.value:+.3f} ({package.low:+.3f} to {package.high:+.3f})")
unpaired = torch.quantile(one[places].mean(1) - other[elsewhere].mean(1), ends).tolist()
print(f"not paired:      {(one - other).mean():+.3f} ({unpaired[0]:+.3f} to {unpaired[1]:+.3f})")
print(f"so pairing makes it {(unpaired[1] - unpaired[0]) / (high - low):.1f} times as narrow")
assert abs(package.value - (one - other).mean().item()) < 1e-5

# %% [markdown]
# Does the interval hold zero? Then these pictures leave it open who is more like the subject. And even if it
# does not, it speaks of *this* character with other seeds. For other characters one has to draw characters
# again as well: the table of twelve does.
#
# ## What a shelf costs
#
# A studio has many characters. Each is trained for itself and has a file; the base model lies on the disk
# once.
#
# ### Exercise 3: N characters
#
# <details><summary>Hint</summary>
#
# What grows with the number of characters, and what does not?
#
# </details>

# %%
def shelf(characters, seconds, artefact_bytes, base_bytes):
    """What all characters take together -> seconds of training, bytes on the disk."""
    ### BEGIN SOLUTION
    return characters * seconds, base_bytes + characters * artefact_bytes
    ### END SOLUTION

# %%
checks.shelf(shelf)

# %%
base_bytes = sum(p.numel() * p.element_size()
                 for part in (sd.unet, sd.vae, sd.text_encoder) for p in part.parameters())
counts = [1, 3, 10, 30, 100, 300, 1000]
figure, axis = plt.subplots()
for color, line in zip(COLORS[1:], learnt.values()):
    each = line["cost"]["artefact_bytes"]
    axis.plot(counts, [(base_bytes + n * each) / 1e6 for n in counts], "o-", color=color, label=line["label"])
axis.set(xscale="log", yscale="log", xlabel="characters", ylabel="megabytes, base model included")
axis.legend()
print(f"the base model has {base_bytes / 1e6:.0f} MB")

# %% [markdown]
# Lines that lie on each other have files of one size. Which stay flat, and until how many characters? On
# Stable Diffusion 1.5 the base has gigabytes, and so has every DreamBooth.

# %% [markdown]
# ## Which when
#
# Nobody chooses from a table alone. Ask, in this order:
#
# 1. **What is the goal?** An edit of one picture (`"edit"`): Imagic (`"imagic"`), chapter 9. It is in no row
#    above, as it learns a picture and no subject.
# 2. **A style** (`"style"`)? With 100 pictures or more, and if the file of all weights may be kept: full
#    fine-tuning (`"full"`). Else a LoRA (`"lora"`).
# 3. **A subject** (`"subject"`)? If the file of all weights fits: DreamBooth, with prior preservation if the
#    class must stay as it was (`"dreambooth-prior"`), without if not (`"dreambooth"`).
# 4. **If it does not fit:** where the class must stay, Textual Inversion (`"textual-inversion"`): it changes
#    nothing but a new word. Else a LoRA if that fits, and if not, again Textual Inversion.
#
# These are rules of thumb. Your tables may tell you to change one: do.
#
# ### Exercise 4: the rules as a function
#
# `sizes` has the bytes of a file by method: `"textual-inversion"`, `"lora"`, and `"dreambooth"` for all
# weights. A file fits if it has at most `most_bytes`.
#
# <details><summary>Hint</summary>
#
# One `if` a question, in the order above, each with a `return`. Then what comes later need not ask again.
#
# </details>

# %%
def choose(goal, pictures, keep_class, most_bytes, sizes):
    """The name of a method for a goal ("edit", "style" or "subject")."""
    ### BEGIN SOLUTION
    all_weights_fit = sizes["dreambooth"] <= most_bytes
    if goal == "edit":
        return "imagic"
    if goal == "style":
        return "full" if pictures >= 100 and all_weights_fit else "lora"
    if all_weights_fit:
        return "dreambooth-prior" if keep_class else "dreambooth"
    if not keep_class and sizes["lora"] <= most_bytes:
        return "lora"
    return "textual-inversion"
    ### END SOLUTION

# %%
checks.choose(choose)

# %% [markdown]
# Do rules 3 and 4 hold in the table of twelve? (Rules 1 and 2 are about one picture and about styles, which
# it does not measure.)

# %%
def value(recipe, measured):
    return twelve[recipe.name][measured]["value"]

held = value(DREAMBOOTH, "class_drift") - value(DREAMBOOTH_PRIOR, "class_drift")
print(f"drift that class pictures save DreamBooth: {held:+.2f}")
print(f"likeness that they cost: {value(DREAMBOOTH, 'fidelity') - value(DREAMBOOTH_PRIOR, 'fidelity'):+.2f}")
print(f"drift of Textual Inversion: {value(TEXTUAL_INVERSION, 'class_drift'):+.2f}, of LoRA: "
      f"{value(LORA, 'class_drift'):+.2f}")
gain = value(LORA, "fidelity") - value(TEXTUAL_INVERSION, "fidelity")
print(f"likeness that LoRA gains over Textual Inversion: {gain:+.2f}")

# %% [markdown]
# Is what you read what the rules suppose? Where a sign is against them, change the rule and say why.

# %% [markdown]
# ## How it fails, and how you see it
#
# | you see | it is | what helps |
# |---|---|---|
# | another method is best for the next character | one character is an anecdote | intervals over many |
# | a method is far behind in everything | too few steps, a bad learning rate | compare each at its best, and say so |
# | high likeness, little of what was asked | training pictures come back | look at *asked and seen* |
# | seconds differ from run to run | something else uses the computer | measure in turns, take the median |

# %% [markdown]
# ### Exercise 5: an open question
#
# Equal steps are not equal chances. Choose one method and double its budget alone:
# `from dataclasses import replace`, then `row(replace(LORA, times=2.0))`. It is a row more in `rows` and
# `sheet`, with a name of its own. Write down first whether it will overtake DreamBooth, and what its
# drift will do. Then: would equal *seconds* be fairer than equal steps? Or equal bytes?
#
# **A sixth method.** The text reaches the U-Net only in the keys and values of its cross-attention. Custom
# Diffusion trains those alone. Try it: make a `DreamBooth(sd)`, go through the names of
# `method.sd.unet.named_parameters()`, and call `requires_grad_(False)` on every weight whose name ends
# neither in `.attn2.to_k.weight` nor in `.attn2.to_v.weight`. Then train it with `fit`. How many numbers
# are left to train, and does the class drift less? The package's own is
# `from sdlearn.finetune import CustomDiffusion`, a file of fifty lines: read it when yours runs.

# %% [markdown]
# ## The same on Stable Diffusion 1.5
#
# On a GPU: `sd = load("sd15", device=device)`, and hundreds of steps. Stay with a drawn character here:
# mini's judges know no photographs. The order of file sizes stays. The order of likeness need not.

# %% [markdown]
# ## What you have learnt
#
# - A fair comparison changes one thing: same pictures, steps, prompts and seeds for all.
# - Likeness, drift, and the size of a file pull against each other, so look for who is not beaten.
# - A difference needs an interval, of pairs; and a rule for more than one subject needs many subjects.
#
# **What would break** if each method were drawn with seeds of its own? (Part of each difference would be
# luck, nothing would cancel in a pair, and you would need many more pictures to see the same.)
#
# **Papers:** Gal et al. 2022, arXiv:2208.01618; Ruiz et al. 2022, arXiv:2208.12242; Hu et al. 2021,
# arXiv:2106.09685; Kawar et al. 2022, arXiv:2210.09276; Kumari et al. 2022, arXiv:2212.04488; Efron and
# Tibshirani 1993, An Introduction to the Bootstrap.
