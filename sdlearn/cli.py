"""The program `sdlearn`: a command is a dataclass in `sdlearn.commands`, its fields the options.

What a person can mend (a file, an option, a folder) ends with one sentence and exit status 2.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Annotated, Any, TextIO

import tyro
from PIL import Image
from safetensors import SafetensorError

from sdlearn.commands.character import Character
from sdlearn.commands.demo import Demo
from sdlearn.commands.evaluate import Evaluate
from sdlearn.commands.generate import Generate
from sdlearn.commands.grade import Grade
from sdlearn.commands.info import Info
from sdlearn.commands.plan import Plan, add_explicit_booleans
from sdlearn.commands.pretrain import Pretrain
from sdlearn.commands.stopping import StoppedRun, stopped_by
from sdlearn.commands.train import Train
from sdlearn.models.writing import check_utf8

DESCRIPTION = """Learn how Stable Diffusion works and make it your own.

Add --debug to any command for the full traceback of an error."""

CHECKS = ("__post_init__", "check")  # where configurations refuse values
OURS = ("sdlearn", "experiments")  # packages whose errors are sentences for the user

OUT_OF_MEMORY = (
    "the memory is full: see what fits with `sdlearn plan`, and train with a smaller "
    "--train-batch-size and --gradient-checkpointing, or draw smaller pictures"
)

Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Generate, tyro.conf.subcommand("generate")]
    | Annotated[Character, tyro.conf.subcommand("character")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Plan, tyro.conf.subcommand("plan")]
    | Annotated[Pretrain, tyro.conf.subcommand("pretrain")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Grade, tyro.conf.subcommand("grade")]
    | Annotated[Info, tyro.conf.subcommand("info")]
)


def main(
    arguments: Sequence[str] | None = None,
    command: Any = Command,
    *,
    prog: str = "sdlearn",
    description: str | None = DESCRIPTION,
) -> int:
    """Run one command and return the exit status: 0 done, 2 a mistake to mend, 130 stopped.

    Where nobody reads on (`sdlearn --help | head -3`) it ends quietly, with 141 as other programs.
    Another program of the same manners gives its own `command`, a dataclass, and name.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without a sign shows ? in its place
            stream.reconfigure(errors="replace")
    try:
        try:
            return _run(arguments, command, prog, description)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes as it ends
        return 141


def _run(arguments: Sequence[str] | None, command: Any, prog: str, description: str | None) -> int:
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # they warn of what is no fault of the user
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    shown_before, warnings.showwarning = warnings.showwarning, _show_warning
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # refused in words
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        for word in words:
            check_utf8(word, "the command")
        parsed = _parse([word for word in words if word != "--debug"], command, prog, description)
        with stopped_by(signal.default_int_handler):
            parsed.run()
    except KeyboardInterrupt as stop:
        print(f"{prog}: {_way_on(stop, [prog, *words])}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except (ArithmeticError, MemoryError, OSError, RuntimeError, SafetensorError, ValueError) as e:
        sentence = _sentence(e)
        if debug or sentence is None:
            raise
        print(f"{prog}: {sentence}", file=sys.stderr)
        return 2
    finally:
        warnings.showwarning = shown_before
    return 0


def _way_on(stop: KeyboardInterrupt, words: list[str]) -> str:
    """What is left of a command that was stopped."""
    if not isinstance(stop, StoppedRun):
        return "stopped"
    if stop.output_dir is None:
        return f"{stop}, of which nothing is kept: with --output-dir it would be"
    more = [word for word in stop.words if word not in words]
    return f"{stop}, which is kept in {stop.output_dir}: go on with\n{shlex.join([*words, *more])}"


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Say our own warnings in a sentence; Python's form, with a line of program, for the rest."""
    is_ours = Path(filename).is_relative_to(Path(__file__).parent)
    python_s = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(f"sdlearn: {message}\n" if is_ours else python_s)


def _parse(words: list[str], command: Any, prog: str, description: str | None) -> Any:
    """The command that was typed.

    A value that a configuration refuses raises its own ValueError: tyro's box says where in the
    program it arose. Anything else that cannot be read ends in tyro's words, with status 2.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                command,
                args=add_explicit_booleans(words),
                prog=prog,
                description=description,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit as stopped:
        cause: BaseException | None = stopped
        while cause is not None and not (isinstance(cause, ValueError) and _is_mendable(cause)):
            cause = cause.__context__
        if isinstance(cause, ValueError):
            raise cause from None
        sys.stderr.write(said.getvalue())
        raise


def _as_typed(error: Exception) -> str:
    """The sentence of an error, with the fields of the configuration that raised it as options.

    Of names that are words as well, such as `seed`, only the first word of a sentence is one.
    """
    fields: dict[str, Any] = {}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name in CHECKS:
            fields |= getattr(frame.f_locals.get("self"), "__dataclass_fields__", {})

    def option(found: re.Match[str]) -> str:
        name = found[0]
        is_name = name in fields and ("_" in name or found.start() == 0)
        return f"--{name.replace('_', '-')}" if is_name else name

    return re.sub(r"(?<![\w/.-])[a-z0-9_]+(?![\w/.-])", option, str(error))


def _sentence(error: Exception) -> str | None:
    """What the user can mend, in a sentence; None for what is a defect of the program."""
    if _is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, SafetensorError):
        return f"a .safetensors file is broken ({error}): copy or download it again"
    return _as_typed(error) if _is_mendable(error) else None


def _is_out_of_memory(error: Exception) -> bool:
    """Whether the memory is full, of a GPU or not; told by name, as torch may not be loaded."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("out of memory", "can't allocate memory")
    )


def _is_mendable(error: Exception) -> bool:
    """Whether the error is a sentence for the user: the system's, or raised by our own checks.

    Those out of the depths of a library are defects here, so their tracebacks must be seen.
    """
    if not isinstance(error, OSError | ValueError | FloatingPointError):
        return False
    if isinstance(error, OSError):
        return True
    raised_in = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return raised_in.f_globals.get("__name__", "").split(".")[0] in OURS
