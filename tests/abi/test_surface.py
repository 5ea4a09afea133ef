# SPDX-License-Identifier: Apache-2.0
"""check_surface.py on headers that were changed: what breaks programs is found, what does not is let through."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
HEADER = HERE.parent.parent / "include" / "gapless" / "gapless.h"
LAST = "  int64_t large_kept;\n} gapless_stats;"

BREAKS = {
    "a field of another type": (r"int64_t moves; ", "int32_t moves; "),
    "a field put before others": (r"int64_t moves; ", "int64_t inserted; int64_t moves; "),
    "a field taken away": (r"  int64_t reserved_address_bytes;\n", ""),
    "a parameter of another type": (r"gapless_set_limit\(gapless_allocator\* allocator, int32_t", "gapless_set_limit(gapless_allocator* allocator, int64_t"),
    "a function taken away": (r"GAPLESS_EXPORT gapless_status gapless_get_limit[^;]*;", ""),
    "an enumerator with another value": (r"GAPLESS_OOM_TRY_AGAIN = 1", "GAPLESS_OOM_TRY_AGAIN = 3"),
    "a struct passed by value that grew": (r"uint64_t high, low;", "uint64_t high, low, more;"),
}
KEEPS = {
    "nothing changed": ("", ""),
    "a field at the end": (re.escape(LAST), LAST.replace("} gap", "  int64_t more;\n} gap")),
    "a new function": (r"(GAPLESS_EXPORT gapless_status gapless_get_limit)", r"GAPLESS_EXPORT int gapless_more(void);\n\1"),
    "a new enumerator": (r"GAPLESS_OOM_TRY_AGAIN = 1", "GAPLESS_OOM_TRY_AGAIN = 1, GAPLESS_OOM_MORE = 2"),
}


@unittest.skipUnless(shutil.which("abidw"), "no abidw")
class Surface(unittest.TestCase):
    def check(self, text):
        with tempfile.TemporaryDirectory() as folder:
            header = pathlib.Path(folder) / "gapless.h"
            header.write_text(text)
            return subprocess.run([sys.executable, HERE / "check_surface.py", header, "--include", folder, "--baseline",
                                   HERE / "gapless.h.baseline", "--cc", os.environ.get("CC", "cc")],
                                  capture_output=True, text=True, check=False)

    def edited(self, edit):
        text, count = re.subn(edit[0], edit[1], HEADER.read_text(), count=1)
        self.assertEqual(count, 1)
        return self.check(text)

    def test_what_breaks_programs_is_found(self):
        for what, edit in BREAKS.items():
            with self.subTest(what):
                done = self.edited(edit)
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertIn("broken: ", done.stderr)

    def test_what_does_not_is_let_through(self):
        for what, edit in KEEPS.items():
            with self.subTest(what):
                done = self.edited(edit)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
