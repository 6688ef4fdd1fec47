"""What only a browser can tell: that sliders and buttons of the notebooks do what they say."""

import json

import nbformat
from lab import Notebook

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
