"""What only a browser can tell: that sliders and buttons of the notebooks do what they say."""

import json

import nbformat
from lab import Notebook

STUBS = {"NotImplementedError"}
PIXELS = """img => { const canvas = document.createElement("canvas");
    canvas.width = img.naturalWidth; canvas.height = img.naturalHeight;
    canvas.getContext("2d").drawImage(img, 0, 0); return canvas.toDataURL(); }"""
TRAINING = """
from sdlearn import load
from sdlearn.course import start
from sdlearn.course.training import learn
from sdlearn.data.characters import draw_character
from sdlearn.finetune import FitConfig, LoRA

start()
sd = load("mini")
pictures = draw_character("lorelei", seed=0, number=2)
learnt = learn(LoRA(sd), pictures, FitConfig(max_train_steps=100_000), name="stopped",
               preview="a person")
"""
AFTERWARDS = """
import json
sd.with_artefact(learnt.path)
print(json.dumps([learnt.steps, learnt.stopped, len(list(learnt.path.iterdir()))]))
"""


def other_pixels(page, image, before):
    """Wait until an image shows something else than before; return what it shows."""
    for _ in range(300):
        now = image.evaluate(PIXELS)
        if now != before:
            return now
        page.wait_for_timeout(200)
    raise AssertionError("the picture has not changed")


def training_notebook(page, lab):
    """A notebook that trains for an hour, and then looks at what was learnt."""
    cells = [nbformat.v4.new_code_cell(source) for source in (TRAINING, AFTERWARDS)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    book = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(book, lab.folder / "training.ipynb")
    return Notebook(page, lab, "training.ipynb")


def test_chapter_5_runs_and_shows_its_pictures(page, lab, tmp_path):
    notebook = Notebook(page, lab, "05_stable_diffusion.ipynb")
    notebook.start()
    notebook.wait()
    assert notebook.errors() == STUBS
    assert "largest difference between the two: 0.0" in notebook.printed()
    pictures = page.locator(".jp-OutputArea-output img")
    assert pictures.count() == sum("image/png" in o.get("data", {}) for o in notebook.outputs())
    assert pictures.count() >= 4
    pictures.nth(3).scroll_into_view_if_needed()
    notebook.photograph(tmp_path, "attention")


def test_moving_chapter_9_s_slider_changes_its_picture(page, lab, tmp_path):
    notebook = Notebook(page, lab, "09_imagic.ipynb")
    notebook.start()
    notebook.wait()
    assert notebook.errors() == STUBS
    image = page.locator("img.widget-image, .widget-image img").first
    image.scroll_into_view_if_needed()
    first = image.evaluate(PIXELS)
    notebook.photograph(tmp_path, "before")
    handle = page.locator(".noUi-handle").first
    handle.focus()
    seen = [first]
    for _ in range(2):
        handle.press("ArrowRight")
        seen.append(other_pixels(page, image, seen[-1]))
    notebook.photograph(tmp_path, "after")
    assert len(set(seen)) == 3
    assert page.locator(".widget-readout").first.inner_text() == "1.0"
    handle.press("ArrowLeft")
    assert other_pixels(page, image, seen[2]) == seen[1]


def test_the_character_maker_makes_the_character_that_was_chosen(page, lab, tmp_path):
    notebook = Notebook(page, lab, "00_start_here.ipynb")
    notebook.start()
    notebook.wait()
    assert notebook.errors() == STUBS
    image = page.locator("img.widget-image, .widget-image img").first
    image.scroll_into_view_if_needed()
    before = image.evaluate(PIXELS)
    page.locator(".widget-dropdown select").first.select_option("adventurer")
    other_pixels(page, image, before)
    page.locator(".jupyter-button", has_text="keep this one").click()
    page.get_by_text("pictures are in the folder my-character").wait_for(timeout=60_000)
    notebook.photograph(tmp_path, "maker")
    folder = lab.folder / "my-character"
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["attributes"]["style"] for line in lines} == {"adventurer"}
    assert len(list(folder.glob("*.png"))) == len(lines)


def test_the_stop_button_ends_training_and_what_was_learnt_is_kept(page, lab, tmp_path):
    notebook = training_notebook(page, lab)
    notebook.start()
    image = page.locator(".jp-OutputArea-output img").first
    image.wait_for(timeout=120_000)
    other_pixels(page, image, image.evaluate(PIXELS))  # it is drawn again as training goes on
    notebook.photograph(tmp_path, "training")
    page.locator(".jupyter-button", has_text="stop").click()
    notebook.wait(60)
    notebook.photograph(tmp_path, "stopped")
    assert notebook.errors() == set()
    steps, stopped, files = json.loads(notebook.printed().splitlines()[-1])
    assert 0 < steps < 100_000
    assert stopped
    assert files > 0
    texts = [o["data"]["text/plain"] for o in notebook.outputs() if "data" in o]
    assert any(f"step {steps} of 100000" in "".join(t) and "kept" in "".join(t) for t in texts)


def test_interrupting_the_kernel_keeps_what_was_learnt_as_well(page, lab):
    notebook = training_notebook(page, lab)
    notebook.start()
    page.locator(".jp-OutputArea-output img").first.wait_for(timeout=120_000)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    notebook.wait(60)
    steps, stopped, _ = json.loads(notebook.printed().splitlines()[-1])
    assert 0 < steps < 100_000
    assert stopped
