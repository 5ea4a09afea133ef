# SPDX-License-Identifier: Apache-2.0
"""Installs a build to a temporary prefix, moves it, and builds and runs outside programs against it.

What is checked: the list of files; that no installed text names the build or the source folder; that the shared libraries export
only public names; a C and a C++ program, shared and static, by pkg-config and by find_package; the pages' examples, one of
PyTorch's with find_package(Torch) among them; on the simulated device where it is installed, else as far as a machine without a driver goes.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
CHECK_LIBRARY = HERE.parent / "abi" / "check_library.py"


def run(command: list, **kwargs) -> str:
    """Runs a command, shows it when it fails, returns its output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500, **kwargs)
    if done.returncode != 0:
        sys.exit(f"$ {' '.join(words)}\n{done.stdout}\nexit code {done.returncode}")
    return done.stdout


def one(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    found = sorted(folder.rglob(pattern))
    if not found:
        sys.exit(f"the installation has no {pattern}")
    return found[0]


class Installation:
    """An installed tree, at another place than it was installed to."""

    def __init__(self, build: pathlib.Path, cmake: str, scratch: pathlib.Path):
        first = scratch / "first"
        run([cmake, "--install", build, "--prefix", first])
        self.build = build
        self.prefix = scratch / "moved"
        shutil.move(first, self.prefix)
        self.lib = one(self.prefix, "libgapless.so").parent
        self.simcuda = self.lib / "gapless" / "simcuda"

    def has_simulation(self) -> bool:
        return (self.simcuda / "libcuda.so.1").exists()

    def environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("GAPLESS_", "PYTORCH_", "CUDA_")) and name != "LD_PRELOAD"}
        folders = [str(self.lib)]
        if self.has_simulation():
            folders.append(str(self.simcuda))
            environment["GAPLESS_EXPECT_DEVICE"] = "1"
            environment["GAPLESS_SIM"] = "size=4GiB"
        environment["LD_LIBRARY_PATH"] = ":".join(folders)
        environment["PKG_CONFIG_PATH"] = str(self.lib / "pkgconfig")
        environment["CMAKE_PREFIX_PATH"] = str(self.prefix)
        return environment


def check_files(tree: Installation) -> None:
    headers = {path.relative_to(SOURCE / "include") for path in (SOURCE / "include").rglob("*.h*")}
    installed = {path.relative_to(tree.prefix / "include") for path in (tree.prefix / "include").rglob("*.h*")}
    adapters = {pathlib.Path(f"gapless/gapless_{name}.h") for name in ("torch", "sim", "kernels")}
    if installed - adapters != headers:
        sys.exit(f"headers installed: {sorted(map(str, installed))}, public: {sorted(map(str, headers))}")
    for pattern in ["libgapless_preload.so", "gapless.pc", "gaplessConfig.cmake", "gaplessConfigVersion.cmake",
                    "gaplessTargets.cmake", "LICENSE", "gapless_torch.map"]:
        one(tree.prefix, pattern)
    # NVIDIA's names stay out of the loader's way.
    for path in tree.lib.glob("libcu*"):
        sys.exit(f"{path.name} lies where a loader may find it")
    folders = (str(SOURCE), str(tree.build))
    for path in tree.prefix.rglob("*"):
        if path.suffix in {".cmake", ".pc", ".h", ".hpp", ".cpp"} and any(f in path.read_text() for f in folders):
            sys.exit(f"{path.relative_to(tree.prefix)} names a folder of the build")


def check_symbols(tree: Installation) -> None:
    run([sys.executable, CHECK_LIBRARY, tree.lib / "libgapless.so", "--prefix", "gapless_"])


def check_pkg_config(tree: Installation, scratch: pathlib.Path, cc: str, cxx: str) -> None:
    environment = tree.environment()

    def flags(*arguments: str) -> list[str]:
        return run(["pkg-config", *arguments, "gapless"], env=environment).split()

    for compiler, standard, source in [(cc, "-std=c11", "consumer.c"), (cxx, "-std=c++20", "consumer.cpp")]:
        shared = scratch / (source + ".shared")
        run([compiler, standard, *flags("--cflags"), HERE / "consumer" / source, "-o", shared, *flags("--libs")],
            env=environment)
        run([shared], env=environment)
        if (tree.lib / "libgapless.a").exists():
            static = scratch / (source + ".static")
            libraries = ["-l:libgapless.a" if flag == "-lgapless" else flag for flag in flags("--static", "--libs")]
            run([compiler, standard, *flags("--cflags"), HERE / "consumer" / source, "-o", static, *libraries],
                env=environment)
            run([static], env=environment)


def check_cmake(tree: Installation, scratch: pathlib.Path, cmake: str, cc: str, cxx: str, torch: str) -> None:
    environment = tree.environment()
    # The package has to say where things are; the loader gets no help but for the simulated driver.
    environment["LD_LIBRARY_PATH"] = str(tree.simcuda) if tree.has_simulation() else ""
    folder = scratch / "cmake"
    run([cmake, "-G", "Ninja", "-S", HERE / "consumer", "-B", folder, f"-DCMAKE_C_COMPILER={cc}",
         f"-DCMAKE_CXX_COMPILER={cxx}", f"-DCONSUMER_TORCH_LIBRARIES={torch}"], env=environment)
    run([cmake, "--build", folder], env=environment)
    programs = run([cmake, "--build", folder, "--target", "list_programs"], env=environment)
    names = [line.split()[-1] for line in programs.splitlines() if line.startswith("program: ")]
    if len(names) < 2 or (torch and "cpp_torch" not in names):
        sys.exit(f"the outside project built {names}")
    for name in names:
        if "simcuda" in name:
            # It carries its own path to the simulated driver.
            environment.pop("LD_LIBRARY_PATH", None)
        run([folder / name], env=environment)


def check_examples(tree: Installation, scratch: pathlib.Path, cmake: str, cc: str, cxx: str, torch: str) -> None:
    """The pages' examples, built as docs/examples/CMakeLists.txt says and run as the pages say."""
    environment = tree.environment()
    for name in ("LD_LIBRARY_PATH", "GAPLESS_SIM"):
        del environment[name]
    environment["CMAKE_PREFIX_PATH"] = f"{tree.prefix}:{pathlib.Path(torch).parent / 'share' / 'cmake'}"
    # find_package(Torch) asks for the toolkit.
    with_torch = bool(torch) and (shutil.which("nvcc") is not None or pathlib.Path("/usr/local/cuda/bin/nvcc").exists())
    folder = scratch / "examples"
    run([cmake, "-G", "Ninja", "-S", SOURCE / "docs" / "examples", "-B", folder, f"-DCMAKE_C_COMPILER={cc}",
         f"-DCMAKE_CXX_COMPILER={cxx}", f"-DWITH_TORCH={'ON' if with_torch else 'OFF'}"], env=environment)
    run([cmake, "--build", folder], env=environment)
    if not tree.has_simulation():
        print("no simulated device: the examples are built and not run")
        return
    expected = {"my_trainer": "parts of 8 samples", "my_c_trainer": "batch 3: 8 samples done"}
    if any(tree.prefix.rglob("libgapless_kernels.so")):
        expected["my_input_pipeline"] = "100 batches at 2 addresses"
    if with_torch:
        expected["my_torch_trainer"] = "4194304 bytes on cuda:0"
    else:
        print("no PyTorch or no nvcc: docs/examples/torch_program.cpp is left out")
    for program, says in expected.items():
        output = run([tree.prefix / "bin" / "gapless-sim", "--size", "1GiB", "--", folder / program], env=environment, cwd=scratch)
        if says not in output:
            sys.exit(f"{program} did not say '{says}':\n{output}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    parser.add_argument("--torch", default="", help="folder of PyTorch's libraries, where the build has a library for it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gapless-install-") as folder:
        scratch = pathlib.Path(folder)
        tree = Installation(arguments.build.resolve(), arguments.cmake, scratch)
        check_files(tree)
        check_symbols(tree)
        if shutil.which("pkg-config"):
            check_pkg_config(tree, scratch, arguments.cc, arguments.cxx)
        else:
            print("no pkg-config: its part is left out")
        check_cmake(tree, scratch, arguments.cmake, arguments.cc, arguments.cxx, arguments.torch)
        check_examples(tree, scratch, arguments.cmake, arguments.cc, arguments.cxx, arguments.torch)
        print(f"installed, moved and used: simulated device {'yes' if tree.has_simulation() else 'no'}, "
              f"static {'yes' if (tree.lib / 'libgapless.a').exists() else 'no'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
