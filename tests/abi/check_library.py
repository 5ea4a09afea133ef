# SPDX-License-Identifier: Apache-2.0
"""Checks what a built library offers to and asks of the dynamic loader.

  --symbols FILE   the exported symbols are exactly those of FILE (one a line, # comments); --update rewrites it
  --header FILE    they are exactly the functions that the C header declares
  --prefix TEXT    each of them starts so (repeatable: with one of these)
  --needs PATTERN  a library that it may need besides the runtimes (repeatable)
  --c              it may need the C runtime only
"""

import argparse
import pathlib
import re
import subprocess
import sys

C_RUNTIME = [r"libc\.so\.\d+", r"libm\.so\.\d+", r"libdl\.so\.\d+", r"libpthread\.so\.\d+", r"ld-linux.*\.so\.\d+"]
CXX_RUNTIME = [r"libstdc\+\+\.so\.\d+", r"libgcc_s\.so\.\d+"]
# A sanitized build needs its own runtime, which is not what a user loads.
SANITIZERS = [r"lib[alut]b?san\.so\.\d+"]


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
    # The version node itself is listed as an absolute symbol.
    names = [fields[-1].split("@")[0] for fields in map(str.split, out.splitlines()) if fields[-2] != "A"]
    return sorted(names)


def needed(library):
    out = subprocess.run(["readelf", "-d", "--wide", library], check=True, capture_output=True, text=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.*)\]", out)


def declared(header):
    text = pathlib.Path(header).read_text()
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^\s*#.*?(?<!\\)$", "", text, flags=re.M)
    return sorted(set(re.findall(r"GAPLESS_EXPORT[^;(]*?\b(gapless_\w+)\s*\(", text)))


def listed(path):
    lines = (line.split("#")[0].strip() for line in pathlib.Path(path).read_text().splitlines())
    return sorted(line for line in lines if line)


def differences(what, actual, expected):
    for name in sorted(set(expected) - set(actual)):
        yield f"{name}: in {what}, not exported"
    for name in sorted(set(actual) - set(expected)):
        yield f"{name}: exported, not in {what}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--symbols")
    parser.add_argument("--header")
    parser.add_argument("--prefix", action="append", default=[])
    parser.add_argument("--needs", action="append", default=[])
    parser.add_argument("--c", action="store_true")
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()

    names = exported(arguments.library)
    problems = []
    if arguments.update:
        comments = [line for line in pathlib.Path(arguments.symbols).read_text().splitlines() if line.startswith("#")]
        pathlib.Path(arguments.symbols).write_text("\n".join(comments + names) + "\n")
    if arguments.symbols:
        problems += differences(arguments.symbols, names, listed(arguments.symbols))
    if arguments.header:
        problems += differences(arguments.header, names, declared(arguments.header))
    if arguments.prefix:
        problems += [f"{name}: exported, does not start with {' or '.join(arguments.prefix)}"
                     for name in names if not name.startswith(tuple(arguments.prefix))]
    allowed = C_RUNTIME + ([] if arguments.c else CXX_RUNTIME) + SANITIZERS + arguments.needs
    problems += [f"needs {name}" for name in needed(arguments.library)
                 if not any(re.fullmatch(pattern, name) for pattern in allowed)]

    for problem in problems:
        print(f"{arguments.library}: {problem}", file=sys.stderr)
    print(f"{len(names)} exported symbols, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
