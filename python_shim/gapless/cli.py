# SPDX-License-Identifier: Apache-2.0
"""The command ``gapless``.

``run`` and ``replay`` replace this process by the program that they start, so that signals and exit codes are its own.
"""

import argparse
import ctypes
import os
import pathlib
import shutil
import sys

from . import _automatic, _build_torch, _libraries
from .doctor import command as doctor_command
from .fit import command as fit_command
from ._version import library_version, version

EXIT_MISSING = 3
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127

EPILOG = """\
exit codes:
  0    success
  1    build-torch: it could not be compiled; info: something that a training job needs is missing; report: the file cannot be read;
       fit: it does not fit; doctor: a rule is broken
  2    wrong arguments; fit, doctor: could not tell
  3    a library or tool of gapless is missing from this installation
  125  run --sim: the simulated device's arguments are wrong
  126  run: the command cannot be executed
  127  run: the command was not found
  run and replay otherwise end with the exit code of what they start.
"""


def _fail(message: str, code: int) -> int:
    print(f"gapless: {message}", file=sys.stderr)
    return code


def _tool(name: str) -> pathlib.Path:
    """A program of this installation: bin/ lies beside the folder of the libraries. Raises LibraryNotFound."""
    folder = _libraries.library_dir().parent / "bin"
    path = folder / name
    if not os.access(path, os.X_OK):
        raise _libraries.LibraryNotFound(f"this installation has no {path}")
    return path


def _become(command: list[str], environment: dict[str, str]) -> int:
    """Replaces this process; returns only when that fails, with the exit code that shells use."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], command, environment)
    except FileNotFoundError:
        return _fail(f"{command[0]}: command not found", EXIT_NOT_FOUND)
    except OSError as error:
        return _fail(f"{command[0]}: {error.strerror}", EXIT_NOT_EXECUTABLE)


def _preloaded(environment: dict[str, str], library: pathlib.Path) -> dict[str, str]:
    """The environment with `library` preloaded, ahead of what is there and once only: runs may be nested."""
    others = [entry for entry in environment.get("LD_PRELOAD", "").replace(" ", ":").split(":")
              if entry and entry != str(library)]
    return environment | {"LD_PRELOAD": ":".join([str(library), *others])}


def _with_torch_library(environment: dict[str, str]) -> dict[str, str]:
    """The preload looks beside itself; it is told of a library that was compiled for the installed PyTorch."""
    torch = _build_torch.find_torch()
    if torch is None:
        return environment
    try:
        library = _libraries.torch_library_path(torch)
        if library.parent != _libraries.library_dir():
            return environment | {"GAPLESS_TORCH_LIBRARY": str(library)}
    except _libraries.LibraryNotFound as error:
        # The program runs all the same, on PyTorch's allocator; the preload says so too if it gets that far.
        print(f"gapless: {error}", file=sys.stderr)
    # Runs may be nested, and the outer one's PyTorch another.
    return {name: value for name, value in environment.items() if name != "GAPLESS_TORCH_LIBRARY"}


def _with_elastic_trainers(environment: dict[str, str]) -> dict[str, str]:
    """Python finds the entry at its start, and that calls gapless._automatic. Runs may be nested; what looks on (gapless fit) goes
    first, since it must see what does not fit."""
    if environment.get("GAPLESS_OBSERVER", _automatic.ENTRY) != _automatic.ENTRY:
        return environment
    entry = str(pathlib.Path(__file__).resolve().parent / "fit" / "inside" / "entry")
    others = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one and one != entry]
    return environment | {"GAPLESS_OBSERVER": _automatic.ENTRY, "PYTHONPATH": os.pathsep.join([entry, *others]), _automatic.KEY: "1"}


def run(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        return _fail("run: no command given (try gapless run -- python train.py)", 2)
    environment = dict(os.environ)
    if arguments.conf is not None:
        environment["GAPLESS_CONF"] = arguments.conf
    if arguments.elastic or _automatic.wanted():
        environment = _with_elastic_trainers(environment)
    if arguments.sim is not None:
        # The tool knows what the simulation needs in the environment.
        extra = [] if arguments.no_gapless else ["--gapless"]
        if not arguments.no_gapless:
            environment = _with_torch_library(environment)
        return _become([str(_tool("gapless-sim")), "--size", arguments.sim, *extra, "--", *command], environment)
    if not arguments.no_gapless:
        preload = _libraries.library_dir() / "libgapless_preload.so"
        if not preload.is_file():
            return _fail(f"this installation has no {preload}", EXIT_MISSING)
        environment = _with_torch_library(_preloaded(environment, preload))
    return _become(command, environment)


def replay(arguments: argparse.Namespace) -> int:
    environment = dict(os.environ)
    if (torch := _build_torch.find_torch()) is not None:
        # PyTorch's own allocators are replayed by its own code.
        paths = [str(torch.folder / "lib"), *filter(None, environment.get("LD_LIBRARY_PATH", "").split(":"))]
        environment["LD_LIBRARY_PATH"] = ":".join(paths)
    return _become([str(_tool("gapless-replay")), *arguments.arguments], environment)


def report(arguments: argparse.Namespace) -> int:
    from . import report as reports

    try:
        data = reports.read(arguments.file)
        found = reports.sections(data, top=arguments.top, frames=arguments.frames)
    except OSError as error:
        return _fail(f"report: {arguments.file}: {error.strerror}", 1)
    except reports.NotReadable as error:
        return _fail(f"report: {arguments.file}: {error}", 1)
    except (KeyError, TypeError, AttributeError) as error:
        return _fail(f"report: {arguments.file}: it lacks what a file of its kind has ({error!r})", 1)
    if arguments.html is None:
        reports.show(found)
        return 0
    try:
        reports.write_page(arguments.html, data, found)
    except OSError as error:
        return _fail(f"report: --html {arguments.html}: {error.strerror}", 1)
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


class _Report:
    """Lines with a mark: good, bad or neither. Colours on a terminal only, and not against NO_COLOR."""

    MARKS = {True: ("ok", "32"), False: ("missing", "31"), None: ("", "")}

    def __init__(self) -> None:
        self.complete = True
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def line(self, name: str, value: object, good: bool | None = None) -> None:
        mark, colour = self.MARKS[good]
        if mark and self._colour:
            mark = f"\033[{colour}m{mark}\033[0m"
        print(f"{name + ':':<18}{value}" + (f"  [{mark}]" if mark else ""))
        self.complete = self.complete and good is not False


def _devices() -> tuple[str, bool]:
    """What the CUDA driver of this machine shows to gapless."""
    core = _libraries.core()
    for function in (core.gapless_open, core.gapless_device_count, core.gapless_probe_device, core.gapless_close):
        function.restype = ctypes.c_int
    core.gapless_last_error.restype = ctypes.c_char_p
    allocator = ctypes.c_void_p()
    if core.gapless_open(None, ctypes.byref(allocator)) != 0:
        return core.gapless_last_error().decode(), False
    try:
        count = ctypes.c_int32()
        if core.gapless_device_count(allocator, ctypes.byref(count)) != 0:
            return core.gapless_last_error().decode(), False
        refusals = [f"device {device}: {core.gapless_last_error().decode()}" for device in range(count.value)
                    if core.gapless_probe_device(allocator, device) != 0]
        served = f"{count.value - len(refusals)} of {count.value} can be served"
        return "; ".join([served, *refusals]), count.value > len(refusals)
    finally:
        core.gapless_close(allocator)


def info(_arguments: argparse.Namespace) -> int:
    report = _Report()
    report.line("gapless", version)
    report.line("python", f"{sys.version.split()[0]} ({sys.executable})")
    folder = _libraries.library_dir()
    report.line("libraries", folder)
    report.line("libgapless", library_version(), library_version() == version)
    preload = folder / "libgapless_preload.so"
    report.line("preload", preload.name, preload.is_file())
    built = sorted(path.name.removeprefix("libgapless_torch").removesuffix(".so") for path in folder.glob("libgapless_torch*.so"))
    torch = _build_torch.find_torch()
    libraries = "libraries for " + (", ".join(built) or "none")
    if torch is None:
        report.line("torch", f"not installed; {libraries}")
    elif compiled := _build_torch.compiled(torch):
        report.line("torch", f"{torch.version}, compiled here: {compiled}", True)
    else:
        report.line("torch", f"{torch.version}, {libraries}" + ("" if torch.minor in built else "; gapless build-torch compiles one"),
                    torch.minor in built)
    devices, served = _devices()
    report.line("devices", devices, served)
    # Optional: a machine that trains needs neither.
    for tool in ("gapless-sim", "gapless-replay"):
        path = folder.parent / "bin" / tool
        report.line(tool, path if path.is_file() else "not installed")
    if conf := os.environ.get("GAPLESS_CONF"):
        report.line("GAPLESS_CONF", conf)
    return 0 if report.complete else 1


def _parser() -> argparse.ArgumentParser:
    width = max(60, min(100, shutil.get_terminal_size().columns))
    def formatter(prog: str) -> argparse.HelpFormatter:
        return argparse.RawDescriptionHelpFormatter(prog, width=width)

    parser = argparse.ArgumentParser(prog="gapless", description="A CUDA caching allocator without gaps.", epilog=EPILOG,
                                     formatter_class=formatter)
    parser.add_argument("--version", action="version", version=f"gapless {version}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "run", help="run a program, and its children, on gapless", formatter_class=formatter,
        description="Runs a program with gapless as PyTorch's CUDA allocator. Child processes run on it too, so it works with\n"
                    "torchrun and accelerate launch.",
        epilog="examples:\n  gapless run -- python train.py\n  gapless run --sim 80GiB -- python train.py\n"
               "  gapless run --elastic -- python train.py\n  gapless run -- torchrun --nproc-per-node 8 train.py\n\n" + EPILOG)
    command.add_argument("--sim", metavar="SIZE", help="on a simulated device of SIZE (80GiB): no GPU needed, kernels do nothing")
    command.add_argument("--elastic", action="store_true",
                         help="Trainers of transformers and Lightning do a batch that does not fit in smaller pieces, with the same "
                              "result; accelerate's find_executable_batch_size takes the next size from gapless (GAPLESS_ELASTIC=1)")
    command.add_argument("--conf", metavar="OPTIONS", help="options of gapless, as in GAPLESS_CONF (slack:1.02)")
    command.add_argument("--no-gapless", action="store_true", help="leave PyTorch's allocator in place, to compare")
    command.add_argument("command", nargs=argparse.REMAINDER, metavar="-- PROGRAM ...", help="the program and its arguments")
    command.set_defaults(action=run)

    command = commands.add_parser("info", help="say what is installed and whether this machine can be served",
                                  formatter_class=formatter, epilog=EPILOG,
                                  description="Says what is installed and whether this machine can be served.")
    command.set_defaults(action=info)

    command = commands.add_parser(
        "report", help="say what a snapshot, statistics or an OOM record hold", formatter_class=formatter, epilog=EPILOG,
        description="Shows a file of figures: live, reserved and free bytes, fragmentation, and who holds the memory.\n\n"
                    "FILE is a snapshot (torch.cuda.memory._dump_snapshot, or the JSON of gapless.hpp), statistics as JSON\n"
                    "(gapless.stats(), torch.cuda.memory_stats(), gapless-sim --stats), an OOM record as JSON, or what gapless fit --save\n"
                    "or gapless doctor --json wrote.")
    command.add_argument("file", type=pathlib.Path, metavar="FILE")
    command.add_argument("--html", type=pathlib.Path, metavar="PAGE", help="write a page that needs nothing else, for a phone or for paper")
    command.add_argument("--top", type=_positive, default=10, metavar="N", help="rows of a table (default: 10)")
    command.add_argument("--frames", type=_positive, default=3, metavar="N", help="frames of a stack (default: 3)")
    command.set_defaults(action=report)

    fit_command.add_to(commands, formatter)
    doctor_command.add_to(commands, formatter)

    command = commands.add_parser(
        "build-torch", help="compile the library for the installed PyTorch", formatter_class=formatter, epilog=EPILOG,
        description="Compiles gapless's library for the installed PyTorch, with g++ (or $CXX) and the headers that pip brought, and\n"
                    "prints where it is. gapless run and gapless.install() do so themselves where no library was shipped for it;\n"
                    "GAPLESS_NO_BUILD=1 forbids that.")
    command.add_argument("--force", action="store_true", help="compile again")
    command.set_defaults(action=lambda arguments: _build_torch.main(arguments.force))

    # Its options are the tool's own, --help included: everything after the word goes there.
    command = commands.add_parser("replay", help="replay recorded traces (gapless replay --help)", add_help=False,
                                  prefix_chars="\0")
    command.add_argument("arguments", nargs=argparse.REMAINDER)
    command.set_defaults(action=replay)
    return parser


def main(argv: list[str] | None = None) -> int:
    argv, program = doctor_command.split(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(argv)
    if program is not None:
        arguments.program = program
    try:
        return arguments.action(arguments)
    except _libraries.LibraryNotFound as error:
        return _fail(str(error), EXIT_MISSING)
    except BrokenPipeError:
        # The reader of our output (head, say) has gone; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
