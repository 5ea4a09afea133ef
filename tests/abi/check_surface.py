# SPDX-License-Identifier: Apache-2.0
"""Compares the binary interface of gapless.h with a checked-in baseline.

What a program built with an older header relies on: the types of each function, the place and type of each struct's fields, the value
of each enumerator. A library of functions as the header declares them is compiled with debug information, abidw reads it, and the
result is written as one line for each promise. abidiff itself cannot tell a struct that grew at its end, which struct_size allows,
from one whose field changed its type.

    check_surface.py HEADER --include DIR --baseline FILE [--cc CC] [--update]

Exit code 0: all promises of the baseline are kept; new ones are listed. 1: some are not. 77: no abidw.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

SKIPPED = 77


def stubs(header):
    """C source that includes the header and defines every function that it declares, so that a library has them all."""
    text = re.sub(r"/\*.*?\*/", " ", header.read_text(), flags=re.S)
    bodies = []
    for function in re.findall(r"GAPLESS_EXPORT\s+([^;]*?\))\s*;", text):
        result = re.match(r"(.*?)\bgapless_\w+\s*\(", function, flags=re.S)[1].strip()
        bodies.append(f"{function} {{ {'' if result == 'void' else f'return ({result})0;'} }}")
    if not bodies:
        sys.exit(f"{header} declares no function")
    return f'#include "{header}"\n' + "\n".join(bodies) + "\n"


def abidw(header, include, cc, folder):
    (folder / "surface.c").write_text(stubs(header))
    subprocess.run([cc, "-std=c11", "-g", "-O0", "-fvisibility=hidden", "-shared", "-fPIC", "-I", include, "-o", folder / "surface.so",
                    folder / "surface.c"], check=True)
    subprocess.run(["abidw", "--load-all-types", "--out-file", folder / "surface.abi", folder / "surface.so"], check=True)
    return xml.etree.ElementTree.parse(folder / "surface.abi").getroot()


class Types:
    """Names of types by abidw's ids."""

    def __init__(self, root):
        self.by_id = {element.get("id"): element for element in root.iter() if element.get("id")}

    def name(self, type_id):
        element = self.by_id[type_id]
        if element.tag == "pointer-type-def":
            return self.name(element.get("type-id")) + "*"
        if element.tag == "qualified-type-def":
            return ("const " if element.get("const") == "yes" else "") + self.name(element.get("type-id"))
        if element.tag == "array-type-def":
            sizes = "".join(f"[{part.get('length')}]" for part in element.iter("subrange"))
            return self.name(element.get("type-id")) + sizes
        if element.tag == "function-type":
            return self.function("", element)
        return element.get("name")

    def function(self, name, element):
        parameters = ", ".join(self.name(part.get("type-id")) for part in element.findall("parameter"))
        return f"{self.name(element.find('return').get('type-id'))} {name}({parameters})"


def promises(root):
    """One line for each; sorted, so that the file's differences are the interface's."""
    types = Types(root)
    lines = set()
    for element in root.iter():
        name = element.get("name") or ""
        if not name.startswith("gapless_"):
            continue
        if element.tag == "function-decl" and element.get("elf-symbol-id"):
            lines.add("function " + types.function(name, element))
        elif element.tag == "typedef-decl":
            lines.add(f"typedef {name} = {types.name(element.get('type-id'))}")
        elif element.tag == "class-decl" and element.get("is-declaration-only") != "yes":
            fields = [(part.get("layout-offset-in-bits"), part.find("var-decl")) for part in element.findall("data-member")]
            lines.update(f"struct {name}.{field.get('name')} {types.name(field.get('type-id'))} at bit {place}" for place, field in fields)
            # One that says its own size may grow at the end; any other is passed by its whole.
            if not fields or fields[0][1].get("name") != "struct_size":
                lines.add(f"struct {name} has {element.get('size-in-bits')} bits")
        elif element.tag == "enum-decl":
            lines.update(f"enum {part.get('name')} = {part.get('value')}" for part in element.findall("enumerator"))
    for element in root.iter("enum-decl"):  # enumerations without a name
        lines.update(f"enum {part.get('name')} = {part.get('value')}" for part in element.findall("enumerator")
                     if part.get("name").startswith("GAPLESS_"))
    return sorted(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("header", type=pathlib.Path)
    parser.add_argument("--include", required=True)
    parser.add_argument("--baseline", type=pathlib.Path, required=True)
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--update", action="store_true", help="make the present header the baseline")
    arguments = parser.parse_args()
    if not shutil.which("abidw"):
        print("no abidw (Debian: abigail-tools)")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        present = promises(abidw(arguments.header.resolve(), arguments.include, arguments.cc, pathlib.Path(folder)))
    if arguments.update:
        arguments.baseline.write_text("# SPDX-License-Identifier: Apache-2.0\n# What gapless.h promises to programs that are built. Made by"
                                      " tests/abi/check_surface.py --update.\n" + "\n".join(present) + "\n")
    baseline = [line for line in arguments.baseline.read_text().splitlines() if not line.startswith("#")]
    broken = sorted(set(baseline) - set(present))
    for line in broken:
        print(f"broken: {line}", file=sys.stderr)
    for line in sorted(set(present) - set(baseline)):
        print(f"new: {line}")
    print(f"{len(baseline)} promises, {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
