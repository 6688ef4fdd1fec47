"""The live view of a training cell: what it draws, and that stopping keeps what was learnt."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from runs import same, weights

from sdlearn.course import training
from sdlearn.course.training import learn
from sdlearn.course.training_view import PREVIEWS, is_quarter, render, watch
from sdlearn.finetune import FitConfig, Imagic, TextualInversion, load_imagic

RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)


@dataclass
class Step:
    step: int
    max_train_steps: int = 40

    @property
    def loss(self) -> torch.Tensor:
        return torch.tensor(1 / self.step)


class Page:
    """Stands for IPython's display: keeps what lies on the page, in order."""

    def __init__(self):
        self.outputs = []

    def __call__(self, shown, **_):
        self.outputs.append(shown)
        return Handle(self, len(self.outputs) - 1)


@dataclass
class Handle:
    page: Page
    place: int

    def update(self, shown, **_):
        self.page.outputs[self.place] = shown


def is_red(picture):
    return (picture == (255, 0, 0)).all(axis=2)


def test_a_picture_shows_losses_and_the_last_four_previews():
    plain = render([0.4, 0.3, 0.2], max_train_steps=10)
    assert plain.dtype == np.uint8
    assert plain.ndim == 3
    assert not is_red(plain).any()
    one = is_red(render([0.4], [(1, RED)])).sum()
    assert one > 1000
    assert is_red(render([0.4], [(i, RED) for i in range(6)])).sum() == pytest.approx(
        PREVIEWS * one, rel=0.05
    )
    assert not np.array_equal(render([0.4, 0.3]), render([0.4, 0.1]))


def test_the_curve_ends_where_training_is():
    def inked_columns(number):
        picture = render([0.5] * number, max_train_steps=100).astype(int)
        return np.flatnonzero((picture[..., 2] > picture[..., 0] + 60).any(axis=0)).max()

    assert inked_columns(25) < inked_columns(50) < inked_columns(100)


def test_no_losses_are_refused():
    with pytest.raises(ValueError, match="no loss to show"):
        render([])


@pytest.mark.parametrize("number", [1, 2, 3, 10, 97])
def test_previews_come_at_the_end_of_each_quarter_and_never_more_than_four(number):
    due = [step for step in range(1, number + 1) if is_quarter(step, number)]
    assert due[-1] == number
    assert len(due) == min(number, PREVIEWS)


def test_what_stays_on_the_page_is_one_sentence_and_one_picture():
    page = Page()
    watch((Step(i + 1) for i in range(40)), preview=lambda: RED, show=page)
    said, picture = page.outputs
    assert said == {"text/plain": "step 40 of 40, loss 0.0340 (mean of the last 20)"}
    assert set(picture) == {"image/png", "text/plain"}


def test_a_press_of_the_button_ends_training_after_the_step():
    page, done = Page(), []

    def steps():
        for i in range(40):
            if i == 7:
                page.outputs[0].click()
            done.append(i + 1)
            yield Step(i + 1)

    watch(steps(), show=page)
    assert done[-1] == 8
    assert page.outputs[0]["text/plain"].startswith("step 8 of 40")
    assert page.outputs[0]["text/plain"].endswith("stopped, and kept as it is")


def test_an_interrupt_is_passed_on_when_the_last_picture_is_drawn():
    page = Page()

    def steps():
        yield Step(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(steps(), show=page)
    assert page.outputs[0]["text/plain"].startswith("step 1 of 40")


@pytest.fixture
def in_a_notebook(monkeypatch, tmp_path):
    """`learn` as in a notebook; the page that it writes to."""
    page = Page()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "kernel", lambda: "a kernel")
    monkeypatch.setattr(training, "watch", lambda steps, draw: watch(steps, draw, page))
    return page


CONFIG = FitConfig(max_train_steps=5, train_batch_size=1)


class Interrupted(TextualInversion):
    """Is interrupted within its third step, when the gradients are there."""

    calls = 0

    @property
    def loss(self):
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().loss


@pytest.mark.parametrize("notebook", [True, False])
def test_interrupted_training_is_kept_and_says_how_many_steps_it_had(
    loaded_tiny, pictures, monkeypatch, request, tmp_path, notebook
):
    if notebook:
        request.getfixturevalue("in_a_notebook")
    monkeypatch.chdir(tmp_path)
    method = Interrupted(loaded_tiny)
    learnt = learn(method, pictures, CONFIG, name="word")
    assert (learnt.steps, learnt.stopped) == (2, True)
    straight = TextualInversion(loaded_tiny)
    learn(straight, pictures, FitConfig(max_train_steps=2, train_batch_size=1), name="two")
    assert same(weights(method), weights(straight))
    word = loaded_tiny.with_artefact(learnt.path)
    assert method.config.placeholder_token in word.tokenizer.get_vocab()
    assert all(p.grad is None for m in method.trained().values() for p in m.parameters())


def test_an_interrupted_edit_is_kept_with_the_stages_it_had(
    loaded_tiny, pictures, tmp_path, monkeypatch
):
    edit = Imagic(
        loaded_tiny, target_prompt="a red toy", embedding_steps=2, unet_steps=4, etas=(0.0, 1.0)
    )
    whole = training.fit

    def interrupted(*given):
        for step in whole(*given):
            if step.step == 5:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(training, "fit", interrupted)
    learnt = learn(edit, pictures[:1], name="edit", folder=tmp_path)
    assert (learnt.steps, learnt.stopped) == (4, True)
    assert learnt.path == tmp_path / "edit"
    result = load_imagic(loaded_tiny, learnt.path)
    assert same(list(result.sd.unet.parameters()), list(edit.result.sd.unet.parameters()))
    assert not same(list(result.sd.unet.parameters()), list(loaded_tiny.unet.parameters()))
    assert not torch.equal(result.e_opt.encoder_hidden_states, result.e_tgt.encoder_hidden_states)


def test_an_interrupt_before_the_first_step_leaves_nothing(loaded_tiny, pictures, in_a_notebook):
    method = Interrupted(loaded_tiny)
    method.calls = 2
    with pytest.raises(KeyboardInterrupt):
        learn(method, pictures, CONFIG, name="word")
    assert in_a_notebook.outputs == [{"text/plain": "there was no step"}]


def test_being_watched_changes_nothing_that_is_learnt(loaded_tiny, pictures, in_a_notebook):
    watched, alone = TextualInversion(loaded_tiny), TextualInversion(loaded_tiny)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    learnt = learn(watched, pictures, CONFIG, name="watched", preview="a <my-character>")
    assert torch.equal(torch.rand(3), expected)
    assert not learnt.stopped
    losses = training.run(training.fit(alone, pictures, CONFIG))
    assert learnt.losses == tuple(losses)
    assert same(weights(watched), weights(alone))
    assert "image/png" in in_a_notebook.outputs[1]


HERE = Path(__file__).parent
FOLDERS = [str(HERE), str(HERE.parent / "support")]
CELL = """
import sys, time
sys.path[:0] = {folders}
from test_training_view import Step
from sdlearn.course.training_view import watch
done = []
def steps():
    for i in range(1000):
        time.sleep(0.02)
        done.append(i + 1)
        yield Step(i + 1, 1000)
watch(steps())
"""


@pytest.mark.slow
def test_a_running_cell_hears_the_click_and_the_cells_behind_it_run_in_their_order():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute(CELL.format(folders=FOLDERS))
        _click_when_a_picture_is_there(client)
        behind = [client.execute(f"print({i}, len(done))") for i in range(2)]
        printed = _printed(client, behind)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert [parent for parent, _ in printed] == behind
    assert [int(text.split()[0]) for _, text in printed] == [0, 1]
    assert 0 < int(printed[0][1].split()[1]) < 1000


@pytest.mark.slow
def test_cells_sent_before_the_click_run_once_and_in_their_order():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute(CELL.format(folders=FOLDERS))
        behind = [client.execute(f"print({i}, len(done))") for i in range(2)]
        _click_when_a_picture_is_there(client)
        printed = _printed(client, behind)
        after = client.execute("print(2, len(done))")
        printed += _printed(client, [after])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert [parent for parent, _ in printed] == [*behind, after]
    assert [int(text.split()[0]) for _, text in printed] == [0, 1, 2]
    assert 0 < int(printed[0][1].split()[1]) < 1000


def _click_when_a_picture_is_there(client):
    button = ""
    while True:
        message = client.get_iopub_msg(timeout=60)
        content = message["content"]
        if message["msg_type"] == "comm_open":
            is_button = content["data"]["state"].get("_model_name") == "ButtonModel"
            button = content["comm_id"] if is_button else button
        elif message["msg_type"] == "display_data" and "image/png" in content["data"]:
            break
    click = {"method": "custom", "content": {"event": "click"}}
    message = client.session.msg("comm_msg", {"comm_id": button, "data": click})
    client.shell_channel.send(message)


def _printed(client, requests):
    """What was printed, and for which request, until the last of them is done."""
    printed = []
    while True:
        message = client.get_iopub_msg(timeout=60)
        parent, content = message["parent_header"].get("msg_id"), message["content"]
        if message["msg_type"] == "stream":
            printed.append((parent, content["text"]))
        elif content.get("execution_state") == "idle" and parent == requests[-1]:
            return printed
