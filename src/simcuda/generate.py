#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes, at build time, what the stand-in libraries need besides the hand-written functions.

A program that links libcudart.so.13 refuses to start when one symbol is missing, so a stand-in exports every name that the
real library exports. Names come from the real libraries' symbol tables (nm -D) where they are installed, else from the public
headers; nothing of the libraries' contents is read or copied. What is written by hand is found by looking at the object files,
so that no list has to be kept in step.

    trampolines  a C++ source that defines every exported name the objects lack, and the linker's version script
    versions     the table of cuGetProcAddress: (base name, CUDA version) -> exported name, from cudaTypedefs.h
    errors       the table of error codes and their names, from the headers that define them
"""

import argparse
import pathlib
import re
import subprocess
import sys

CODE_SYMBOLS = "TWti"  # nm's letters for functions, weak functions and indirect functions


def defined_symbols(path, dynamic):
    """Names of the functions that an object or a library defines, without symbol versions."""
    command = ["nm"] + (["-D"] if dynamic else []) + ["--defined-only", str(path)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = set()
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[-2] in CODE_SYMBOLS:
            names.add(fields[-1].split("@")[0])
    return names


def strip_comments(text):
    return re.sub(r"//[^\n]*", "", re.sub(r"/\*.*?\*/", "", text, flags=re.S))


class Header:
    """Declarations of a CUDA header: prototypes by the name in the source, and the exported name each macro maps it to."""

    def __init__(self, paths):
        text = "\n".join(strip_comments(pathlib.Path(path).read_text()) for path in paths)
        self.exported_as = {}
        for source, exported in re.findall(r"#\s*define\s+(\w+)\s+(?:__CUDA(?:RT)?_API_PT[DS][SZ]\()?(\w+)", text):
            self.exported_as.setdefault(source, exported)
        self.parameters = {}
        pattern = r"(?:CUresult\s+CUDAAPI|cudaError_t\s+CUDARTAPI|cublasStatus_t\s+CUBLASWINAPI|cudnnStatus_t\s+CUDNNWINAPI)\s+(\w+)\s*\(([^;{]*?)\)\s*;"
        for name, parameters in re.findall(pattern, text, flags=re.S):
            parameters = re.sub(r"\s*(__dv\([^)]*\)|=[^,]*)", "", " ".join(parameters.split()))  # default arguments
            self.parameters.setdefault(self.exported_as.get(name, name), parameters)

    def functions(self):
        return set(self.parameters)


def argument_names(parameters):
    if parameters in ("", "void"):
        return []
    return [re.search(r"(\w+)\s*(?:\[\w*\])?$", parameter.strip()).group(1) for parameter in parameters.split(",")]


def per_thread_variants(names, hand_written, header):
    """NAME_ptsz and NAME_ptds are NAME with the per-thread default stream in the place of the legacy one."""
    for name in sorted(names - hand_written):
        match = re.fullmatch(r"(\w+)_(ptsz|ptds)", name)
        if match and match.group(1) in hand_written and match.group(1) in header.parameters:
            yield name, match.group(1), header.parameters[match.group(1)]


def is_routine(parameters, name):
    """Does this function of a maths library take the library's handle and compute on its stream?"""
    takes_handle = re.match(r"(cublasHandle_t|cudnnHandle_t) ", parameters) is not None
    return takes_handle and re.match(r"(cublas|cudnn)(Set|Get|Create|Destroy|Query|Logger)", name) is None


def write_trampolines(arguments):
    libraries = [path for path in arguments.library if pathlib.Path(path).exists()]
    header = Header(arguments.header)
    exports = set()
    for path in libraries:
        exports |= defined_symbols(path, dynamic=True)
    if not libraries:
        exports = header.functions()
    prefixes = tuple(arguments.prefix)
    exports = {name for name in exports if name.startswith(prefixes)}
    hand_written = set()
    for path in pathlib.Path(arguments.objects).read_text().split():
        hand_written |= defined_symbols(path, dynamic=False)
    if not exports:
        sys.exit(f"generate.py: no exported names for {arguments.out}: neither a library nor a header gave any")

    result = {"driver": "CUresult", "runtime": "cudaError_t", "maths": "int"}[arguments.kind]
    lines = ["// Written by generate.py at build time."]
    lines += [f"#include <{include}>" for include in arguments.include]
    lines += ['#include "simcuda/trampoline.hpp"', 'extern "C" {']
    done = set(hand_written)
    variants = list(per_thread_variants(exports, hand_written, header)) if arguments.kind != "maths" else []
    for name, base, parameters in variants:
        done.add(name)
        call = ", ".join(argument_names(parameters))
        lines.append(f"GAPLESS_SIM_EXPORT {result} {name}({parameters}) {{ PerThreadDefault scope; return {base}({call}); }}")
    missing = sorted(exports - done)
    # A trampoline has no parameters: the caller's are left where the calling convention put them, unread.
    for index, name in enumerate(missing):
        # The header's own declaration has parameters: a C++ name of our own avoids the clash, the label gives the real one.
        function = f"trampoline_{index}"
        if is_routine(header.parameters.get(name, ""), name):
            lines.append(f'GAPLESS_SIM_EXPORT int {function}(void* handle) __asm__("{name}");')
            lines.append(f'int {function}(void* handle) {{ GAPLESS_SIM_TRAMPOLINE_ROUTINE("{name}", handle); }}')
        else:
            lines.append(f'GAPLESS_SIM_EXPORT int {function}() __asm__("{name}");')
            lines.append(f'int {function}() {{ GAPLESS_SIM_TRAMPOLINE_{arguments.kind.upper()}("{name}"); }}')
    lines.append("}")
    pathlib.Path(arguments.out).write_text("\n".join(lines) + "\n")

    node = f"{arguments.version_node} " if arguments.version_node else ""
    patterns = " ".join(f"{prefix}*;" for prefix in prefixes + tuple(arguments.also_export))
    pathlib.Path(arguments.map).write_text(f"{node}{{ global: {patterns} local: *; }};\n")
    print(
        f"{pathlib.Path(arguments.out).name}: {len(exports)} exports, {len(exports & hand_written)} by hand, "
        f"{len(variants)} per-thread variants, {len(missing)} trampolines"
    )


def write_versions(arguments):
    exports = set()
    for path in arguments.library:
        if pathlib.Path(path).exists():
            exports |= defined_symbols(path, dynamic=True)
    if not exports:
        header = Header(arguments.header)
        exports = header.functions()
    versions = {}
    listed = set()
    text = strip_comments(pathlib.Path(arguments.typedefs).read_text())
    for name, version, suffix in re.findall(r"PFN_(cu\w+?)_v(\d+)(_ptsz|_ptds)?\)", text):
        versions.setdefault((name, suffix), set()).add(int(version))
    lines = ["// Written by generate.py at build time: base name, CUDA version, per-thread default stream, exported name."]
    for (name, suffix), known in sorted(versions.items()):
        plain = sorted(versions.get((name, ""), known))
        for version in sorted(known):
            # The first version of a function has a bare name, later ones _v2, _v3, ... in order; a per-thread variant is
            # named after the version that was current when it came (cuMemcpyHtoD of 7000 is cuMemcpyHtoD_v2_ptds).
            index = max(sum(1 for each in plain if each <= version), 1)
            exported = (name if index == 1 else f"{name}_v{index}") + suffix
            if exported in exports:
                lines.append(f'{{"{name}", {version}, {"true" if suffix else "false"}, "{exported}"}},')
                listed.add(exported)
    unlisted = sorted(name for name in exports - listed if name.endswith(("_ptsz", "_ptds")))
    if unlisted:
        # A caller that asks for the per-thread variant would silently get the legacy one.
        sys.exit(f"generate.py: no version found for {' '.join(unlisted)}")
    pathlib.Path(arguments.out).write_text("\n".join(lines) + "\n")


def write_errors(arguments):
    text = strip_comments(pathlib.Path(arguments.header).read_text())
    names = {}
    for name, value in re.findall(rf"\b({arguments.pattern})\s*=\s*(\d+)\s*[,\n}}]", text):
        names.setdefault(int(value), name)
    lines = ["// Written by generate.py at build time: code, name."]
    lines += [f'{{{value}, "{name}"}},' for value, name in sorted(names.items())]
    pathlib.Path(arguments.out).write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    trampolines = commands.add_parser("trampolines")
    trampolines.add_argument("--kind", choices=["driver", "runtime", "maths"], required=True)
    trampolines.add_argument("--library", action="append", default=[], help="real library, if installed (repeatable)")
    trampolines.add_argument("--header", action="append", default=[], help="public header with the prototypes")
    trampolines.add_argument("--include", action="append", default=[], help="#include <...> of the written source")
    trampolines.add_argument("--prefix", action="append", required=True, help="exported names start with this")
    trampolines.add_argument("--also-export", action="append", default=[], help="further prefix for the version script")
    trampolines.add_argument("--version-node", default="", help="symbol version that callers ask for")
    trampolines.add_argument("--objects", required=True, help="file that lists the object files of the hand-written functions")
    trampolines.add_argument("--out", required=True)
    trampolines.add_argument("--map", required=True)
    trampolines.set_defaults(run=write_trampolines)

    versions = commands.add_parser("versions")
    versions.add_argument("--typedefs", required=True, help="cudaTypedefs.h")
    versions.add_argument("--library", action="append", default=[])
    versions.add_argument("--header", action="append", default=[])
    versions.add_argument("--out", required=True)
    versions.set_defaults(run=write_versions)

    errors = commands.add_parser("errors")
    errors.add_argument("--header", required=True)
    errors.add_argument("--pattern", required=True, help="regular expression of the enumerators")
    errors.add_argument("--out", required=True)
    errors.set_defaults(run=write_errors)

    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
