# SPDX-License-Identifier: Apache-2.0
"""Every source and build file says its licence in one of its first three lines. Usage: check_spdx.py ROOT"""

import pathlib
import sys

FOLDERS = ["bench", "cmake", "docs", "examples", "include", "kernels", "python_shim", "src", "tests"]
ENDINGS = {".c", ".cc", ".cmake", ".cpp", ".cu", ".cuh", ".def", ".h", ".hpp", ".html", ".in", ".map", ".py", ".pyi", ".symbols"}
NAMES = {"CMakeLists.txt"}
LINE = "SPDX-License-Identifier: Apache-2.0"


def files(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            # An empty file (py.typed, __init__.py) has nothing to license.
            if path.is_file() and (path.suffix in ENDINGS or path.name in NAMES) and path.stat().st_size:
                yield path
    yield root / "CMakeLists.txt"
    yield root / "pyproject.toml"


def main():
    root = pathlib.Path(sys.argv[1])
    seen = list(files(root))
    bare = [path for path in seen if LINE not in "".join(path.read_text(encoding="utf-8").splitlines(True)[:3])]
    for path in bare:
        print(f"{path.relative_to(root)}: no line with {LINE}", file=sys.stderr)
    print(f"{len(seen)} files, {len(bare)} without a licence line")
    return 1 if bare else 0


if __name__ == "__main__":
    sys.exit(main())
