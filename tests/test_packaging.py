"""What is installed where: light imports, one list of packages, and a wheel that is complete."""

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import sdlearn

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def package_name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")  # type: ignore[index]


def all_requirements() -> list[str]:
    extras = PROJECT["optional-dependencies"].values()
    return [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]


def constraints(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, sdlearn; print({'torch', 'numpy', 'PIL', 'diffusers'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


@pytest.mark.parametrize("name", sdlearn.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(sdlearn, name).__module__.startswith("sdlearn.")
    assert name in dir(sdlearn)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        sdlearn.paint  # noqa: B018


def test_every_package_that_the_code_imports_is_required():
    """A package that only came along with another one once went missing on Colab."""
    imported = {
        node.names[0].name if isinstance(node, ast.Import) else node.module or ""
        for path in (ROOT / "sdlearn").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
    }
    tops = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names)
    distributions = {"PIL": "pillow", "dicebear": "dicebear-core", "resvg_py": "resvg-py"}
    distributions["IPython"] = "ipython"
    needed = {distributions.get(top, top.replace("_", "-")) for top in tops} - {"sdlearn"}
    assert needed <= {package_name(line) for line in all_requirements()}


def test_what_replaces_torch_on_colab_has_no_upper_bound():
    for line in PROJECT["dependencies"]:
        assert not re.search(r"[<~]|==", line), line


def test_constraints_pin_exactly_and_leave_torch_to_the_makefile():
    for name in ("constraints.txt", "constraints-colab.txt"):
        for line in constraints(name):
            assert re.fullmatch(r"[\w.-]+==[\w.]+(; python_version >= \"[\d.]+\")?", line), line
        assert "torch" not in {package_name(line) for line in constraints(name)}
    assert re.search(r"^TORCH \?= torch==[\d.]+$", (ROOT / "Makefile").read_text(), re.M)


def test_every_required_package_has_a_tested_version():
    tested = {package_name(line) for line in constraints("constraints.txt")}
    assert {package_name(line) for line in PROJECT["dependencies"]} - tested == {"torch"}


def test_the_conda_environment_takes_its_list_from_the_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, from_pip = environment["dependencies"]
    assert python in {f"python=3.{minor}" for minor in range(10, 14)}
    assert pip == "pip"
    assert from_pip["pip"] == ["-c constraints.txt", "-e .[notebooks]"]


def test_the_checks_run_what_the_readme_says():
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands[-1] == "exec make test"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a wheel is built from, with a stand-in for mini where it has not been trained yet."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "sdlearn", folder / "sdlearn")
    if (ROOT / "data").is_dir():
        shutil.copytree(ROOT / "data", folder / "data")
    for name in (".gitignore", "LICENSE", "LICENSE-docs", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    names = ("mini/model_index.json", "mini/unet/model.safetensors", "licenses.json", "other")
    for name in (*names, "results/talk/picture.png"):
        path = folder / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.fixture
def wheel(checkout: Path, tmp_path: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    options = ["--no-index", "--quiet", "--wheel-dir", str(tmp_path), str(checkout)]
    subprocess.run([*command, *options], check=True)
    (path,) = tmp_path.glob("sdlearn-*.whl")
    return path


def test_workflows_call_the_makefile_and_nothing_else():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert workflows
    for path in workflows:
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            runs = [step["run"] for step in job["steps"] if "run" in step]
            assert runs
            named = job.get("strategy", {}).get("matrix", {}).get("target", [])
            for run in runs:
                assert run.startswith("make "), run
                target = run.split()[1]
                for name in named if target.startswith("${{") else [target]:
                    assert re.search(rf"^{name}:", makefile, re.M), name


def test_the_citation_and_the_development_container_are_of_this_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == sdlearn.__version__
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    text = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    container = json.loads(re.sub(r"^//.*\n", "", text))
    assert "whl/cpu" in container["postCreateCommand"]
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_folder_of_wheels_installs_the_package_without_a_network(wheel, tmp_path):
    """As on Kaggle where the internet is off; what it needs besides is there already."""
    options = ["--no-index", "--no-deps", "--quiet", "--find-links", str(wheel.parent)]
    target = ["--target", str(tmp_path / "installed"), "sdlearn"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *target], check=True)
    code = f"import sys; sys.path[:0] = [{str(tmp_path / 'installed')!r}]; import sdlearn"
    shown = [sys.executable, "-c", f"{code}; print(sdlearn.__file__)"]
    done = subprocess.run(shown, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "installed")
    text = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert "%pip install -q --no-index --find-links" in text


@pytest.mark.slow
def test_the_wheel_carries_the_package_mini_and_the_licences(checkout, wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {path.relative_to(checkout).as_posix() for path in checkout.rglob("*")}
    modules = {name for name in files if name.startswith("sdlearn/") and name.endswith(".py")}
    shipped = {
        f"sdlearn/_{name}"
        for name in files
        if name.startswith(("data/mini/", "data/results/", "data/drawings/")) and "." in name
    }
    assert modules | shipped | {"sdlearn/_data/licenses.json"} <= names
    assert "sdlearn/_data/other" not in names
    licences = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "LICENSE-docs"}
    tops = {Path(name).parts[0] for name in names}
    assert tops == {"sdlearn", f"sdlearn-{sdlearn.__version__}.dist-info"}
