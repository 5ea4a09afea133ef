# SPDX-License-Identifier: Apache-2.0
"""One loop twice: every driver call that allocates, maps, frees, waits or orders is the same, byte for byte.

    check_same_log.py --build DIR --way WAY [--completion WHEN] LOOP.py

gapless-sim switches address randomisation off and sets PYTHONHASHSEED=0; loops with worker threads are not meant.
"""

import argparse
import filecmp
import pathlib
import subprocess
import sys
import tempfile

import run_loop

# PyTorch's own allocator makes some hundred calls in a whole loop; fewer than this, and the loop did not run.
FEWEST_CALLS = 50

HERE = pathlib.Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--way", choices=("preload", "native", "expandable"), required=True)
    parser.add_argument("--completion", default="random:1")
    parser.add_argument("loop", type=pathlib.Path)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="gapless-log-") as folder:
        logs = [pathlib.Path(folder) / name for name in ("first", "second")]
        for log in logs:
            command = [str(args.build / "bin" / "gapless-sim"), "--completion", args.completion, "--log", str(log)]
            command += (["--gapless"] if args.way == "preload" else []) + ["--", sys.executable, str(args.loop)]
            subprocess.run(command, env=run_loop.environment(args), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        lines = [log.read_text(encoding="utf-8").splitlines() for log in logs]
        same = filecmp.cmp(*logs, shallow=False)
    if not same:
        first = next((i for i, pair in enumerate(zip(*lines)) if pair[0] != pair[1]), min(map(len, lines)))
        print(f"{len(lines[0])} and {len(lines[1])} lines; line {first + 1} differs:")
        print("\n".join(each[first] if first < len(each) else "(none)" for each in lines))
    if len(lines[0]) < FEWEST_CALLS:
        print(f"only {len(lines[0])} calls: that is no training loop")
    print(f"{len(lines[0])} calls, twice {'the same' if same else 'not the same'}")
    return 0 if same and len(lines[0]) >= FEWEST_CALLS else 1


if __name__ == "__main__":
    sys.exit(main())
