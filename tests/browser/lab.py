"""A JupyterLab server, and a notebook that is open in it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sdlearn.course.training import QUICK

KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
CELLS = "window.jupyterapp.shell.currentWidget.context.model.toJSON().cells"
SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # cells out of sight are there too
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}


class Lab:
    """A JupyterLab server: its folder, and the addresses of notebooks in it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self.token = folder, port, secrets.token_hex(16)

    def start(self) -> subprocess.Popen:
        """Start it, apart from the settings and kernels of whoever runs the tests."""
        own = self.folder / "jupyter"
        for name, settings in SETTINGS.items():
            path = own / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True)
            path.write_text(settings)
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "JUPYTER_CONFIG_DIR": str(own / "config"),
            "JUPYTER_DATA_DIR": str(own / "data"),
            "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
            "IPYTHONDIR": str(own / "ipython"),
            QUICK: "1",
        }
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.folder,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "LabApp.news_url": "",
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        log = (own / "log").open("w")
        return subprocess.Popen(
            [*command, *(f"--{name}={value}" for name, value in options.items())],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def wait(self, process: subprocess.Popen, seconds: float = 90) -> None:
        """Return when it answers."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and process.poll() is None:
            try:
                urllib.request.urlopen(self.address("api/status"), timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.3)
        raise RuntimeError((self.folder / "jupyter" / "log").read_text()[-3000:])

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}?token={self.token}"


class Notebook:
    """A notebook that is open in the browser."""

    def __init__(self, page: Any, lab: Lab, name: str) -> None:
        self.page, self.lab, self.name = page, lab, name
        page.goto(lab.address(f"lab/tree/{name}") + "&reset")
        page.wait_for_function(
            f"() => {KERNEL}?.connectionStatus === 'connected'",
            timeout=90_000,
        )
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.ready")

    def start(self) -> None:
        """Run all cells, without waiting."""
        self.page.evaluate(
            "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
        )

    def wait(self, seconds: float = 400) -> None:
        """Wait until all cells have run; the command itself ends at the first that raises."""
        self.page.wait_for_function(
            f"() => {KERNEL}.status === 'idle' && {CELLS}.every("
            "cell => cell.cell_type !== 'code' || cell.execution_count !== null)",
            polling=500,
            timeout=seconds * 1000,
        )

    def outputs(self) -> list[dict[str, Any]]:
        """All outputs of all cells, as the notebook's file would have them."""
        cells = self.page.evaluate(f"() => {CELLS}")
        return [output for cell in cells for output in cell.get("outputs", [])]

    def errors(self) -> set[str]:
        return {o["ename"] for o in self.outputs() if o["output_type"] == "error"}

    def printed(self) -> str:
        texts = [o["text"] for o in self.outputs() if o["output_type"] == "stream"]
        return "".join("".join(text) for text in texts)

    def photograph(self, folder: Path, name: str) -> None:
        """Keep what the browser shows, for whoever wants to see it."""
        self.page.screenshot(path=folder / f"{self.name}-{name}.png")
