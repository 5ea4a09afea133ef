# SPDX-License-Identifier: Apache-2.0
"""Every function that a real library exports is exported by its stand-in, with the same symbol version."""

import argparse
import pathlib
import subprocess
import sys

REAL_NAMES = {"libcuda.so.1": ["libcuda.so"]}  # the toolkit's stub of the driver


def functions(path):
    listing = subprocess.run(["nm", "-D", "--defined-only", str(path)], check=True, capture_output=True, text=True).stdout
    fields = [line.split() for line in listing.splitlines()]
    return {entry[-1].replace("@@", "@") for entry in fields if len(entry) == 3 and entry[1] in "TWti"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stand-ins", type=pathlib.Path, required=True)
    parser.add_argument("real", type=pathlib.Path, nargs="*", help="folders of the real libraries")
    arguments = parser.parse_args()
    compared = 0
    failed = False
    for stand_in in sorted(arguments.stand_ins.glob("lib*.so*")):
        ours = functions(stand_in)
        for folder in arguments.real:
            for name in [stand_in.name, *REAL_NAMES.get(stand_in.name, [])]:
                real = folder / name
                if not real.exists():
                    continue
                compared += 1
                missing = sorted(functions(real) - ours - {"_init", "_fini"})
                if missing:
                    failed = True
                    print(f"{stand_in.name} lacks {len(missing)} of {real.name}: {' '.join(missing[:10])}")
    print(f"{compared} libraries compared")
    sys.exit(1 if failed or compared == 0 else 0)


if __name__ == "__main__":
    main()
