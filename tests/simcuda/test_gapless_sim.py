# SPDX-License-Identifier: Apache-2.0
"""gapless-sim as a command: options, exit codes, environment, statistics.

    GAPLESS_SIM_COMMAND=path/to/gapless-sim python -m unittest test_gapless_sim
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

COMMAND = os.environ["GAPLESS_SIM_COMMAND"]
LIBRARIES = pathlib.Path(COMMAND).resolve().parent.parent / "lib" / "simcuda"
# Allocates 64 MiB through the driver, as a program that knows nothing of the simulation.
USE_DEVICE = """
import ctypes
cuda = ctypes.CDLL("libcudart.so.13")
pointer = ctypes.c_void_p()
assert cuda.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(64 << 20)) == 0
"""


def run(*arguments, environment=None, **options):
    full = {**os.environ, **(environment or {})}
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, env=full, timeout=60, **options)


class Options(unittest.TestCase):
    def test_help(self):
        result = run("--help")
        self.assertEqual(result.returncode, 0)
        for option in ("--size", "--devices", "--completion", "--strict", "--stats", "--gapless"):
            self.assertIn(option, result.stdout)

    def test_mistakes_exit_125(self):
        mistakes = [[], ["--"], ["--sise", "1GiB", "true"], ["--size"], ["--size", "big", "true"],
                    ["--size", "nan", "true"], ["--capability", "8..0", "true"], ["--capability", "800", "true"], ["--capability", ".80", "true"], ["--devices", "0", "true"],
                    ["--completion", "soon", "true"], ["--strict=1", "true"], ["--stats", "/no/such/folder/x", "true"]]  # fmt: skip
        for arguments in mistakes:
            with self.subTest(arguments=arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, 125, result.stderr)
                self.assertIn("gapless-sim: ", result.stderr)

    def test_a_size_without_a_unit_is_bytes(self):
        result = run("--size", "24", "true")
        self.assertEqual(result.returncode, 125)
        self.assertIn("did you mean 24GiB?", result.stderr)
        result = run("--size", "24KiB", "true")
        self.assertEqual(result.returncode, 125)
        self.assertNotIn("did you mean", result.stderr)
        self.assertEqual(run("--size", str(1 << 30), "true").returncode, 0)

    def test_missing_libraries_exit_125(self):
        result = run("true", environment={"GAPLESS_SIM_LIBRARY_DIR": "/nowhere"})
        self.assertEqual(result.returncode, 125)
        self.assertIn("/nowhere", result.stderr)


class Commands(unittest.TestCase):
    def test_exit_status_is_the_commands(self):
        self.assertEqual(run("--", "sh", "-c", "exit 7").returncode, 7)
        self.assertEqual(run("true").returncode, 0)

    def test_command_not_found_and_not_runnable(self):
        self.assertEqual(run("--", "no-such-command-here").returncode, 127)
        with tempfile.NamedTemporaryFile() as file:
            self.assertEqual(run("--", file.name).returncode, 126)

    def test_a_script_in_place_of_its_interpreter(self):
        with tempfile.TemporaryDirectory() as folder:
            script = pathlib.Path(folder) / "train.py"
            script.write_text("")
            for command, status in [("train.py", 127), ("./train.py", 126)]:
                result = run("--", command, cwd=folder)
                self.assertEqual(result.returncode, status)
                self.assertIn(f"did you mean: gapless-sim -- python {command}", result.stderr)

    def test_environment(self):
        script = "echo $LD_PRELOAD; echo $TORCH_CUDNN_V8_API_DISABLED $PYTHONHASHSEED $TRITON_LIBCUDA_PATH; cat /proc/self/personality"
        result = run("--", "sh", "-c", script, environment={"PYTHONHASHSEED": "5"})
        preload, variables, personality = result.stdout.splitlines()[:3]
        names = [os.path.basename(path) for path in preload.split(":")]
        self.assertEqual(names[:2], ["libcuda.so.1", "libcudart.so.13"])
        self.assertEqual(variables.split()[:2], ["1", "5"])
        self.assertEqual(int(personality, 16) & 0x0040000, 0x0040000)

    def test_what_was_preloaded_stays_first(self):
        first = str(LIBRARIES / "libcuda.so.1")
        result = run("--", "sh", "-c", "echo $LD_PRELOAD", environment={"LD_PRELOAD": first})
        self.assertTrue(result.stdout.startswith(first + ":"), result.stdout)


    def test_gapless_is_preloaded_last(self):
        result = run("--gapless", "--", "sh", "-c", "echo $LD_PRELOAD")
        if (LIBRARIES.parent / "libgapless_preload.so").exists():
            self.assertEqual(os.path.basename(result.stdout.strip().split(":")[-1]), "libgapless_preload.so")
        else:
            self.assertEqual(result.returncode, 125)


class Summary(unittest.TestCase):
    def test_one_line_when_the_device_was_used(self):
        result = run("--size", "1GiB", "--", sys.executable, "-c", USE_DEVICE)
        self.assertEqual(result.stderr, "gapless-sim: device 0: peak 64.0 MiB of 1.00 GiB; 0 violations\n")

    def test_no_line_without_a_device_or_when_quiet(self):
        self.assertEqual(run("--", "true").stderr, "")
        self.assertEqual(run("--quiet", "--", sys.executable, "-c", USE_DEVICE).stderr, "")

    def test_a_process_that_the_command_started_says_which_it_is(self):
        spawn = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {USE_DEVICE!r}], check=True)"
        self.assertRegex(run("--", sys.executable, "-c", spawn).stderr, r"^gapless-sim: process \d+, device 0: peak 64.0 MiB")


# A write on one stream, a read on another, and nothing that orders them.
RACE = USE_DEVICE + """
streams = [ctypes.c_void_p(), ctypes.c_void_p()]
for stream in streams:
    assert cuda.cudaStreamCreateWithFlags(ctypes.byref(stream), 1) == 0
for stream in streams:
    assert cuda.cudaMemsetAsync(pointer, 0, ctypes.c_size_t(4096), stream) == 0
"""


class Reports(unittest.TestCase):
    def report(self, result):
        return [line for line in result.stderr.splitlines() if line.startswith("[gapless-sim]")]

    def test_the_command_in_a_report_gives_the_same_report(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        program = pathlib.Path(folder.name) / "it's a race.py"
        program.write_text(RACE)
        for options in (["--completion", "random:77"], ["--completion", "lag:9", "--seed", "5"], ["--completion", "lazy"]):
            with self.subTest(options=options):
                first = self.report(run("--strict", *options, "--", sys.executable, program))
                self.assertEqual(len(first), 2, first)
                seed = {"random:77": 77, "lag:9": 5}.get(options[1], 1)
                self.assertRegex(first[0], rf"RACE-1 broken at operation \d+, seed {seed}: ")
                self.assertIn("(operation ", first[0])
                command = first[1].removeprefix("[gapless-sim] again: ")
                environment = {key: value for key, value in os.environ.items() if not key.startswith("GAPLESS_SIM")}
                again = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, env=environment, check=False)
                self.assertEqual(self.report(again), first)

    def test_the_same_run_writes_the_same_log(self):
        script = USE_DEVICE + """
import ctypes, random
streams = [ctypes.c_void_p() for _ in range(3)]
events = [ctypes.c_void_p() for _ in range(5)]
for stream in streams:
    assert cuda.cudaStreamCreateWithFlags(ctypes.byref(stream), 1) == 0
for event in events:
    assert cuda.cudaEventCreateWithFlags(ctypes.byref(event), 2) == 0
draw = random.Random(4)
for _ in range(300):
    stream, event = draw.choice(streams), draw.choice(events)
    cuda.cudaMemsetAsync(pointer, 0, ctypes.c_size_t(512), stream)
    cuda.cudaEventRecord(event, stream)
    cuda.cudaEventQuery(draw.choice(events))
    cuda.cudaStreamWaitEvent(draw.choice(streams), event, 0)
"""
        with tempfile.TemporaryDirectory() as folder:
            logs = {}
            for name, seed in (("first", "8"), ("second", "8"), ("other", "9")):
                path = pathlib.Path(folder) / name
                result = run("--completion", "random", "--seed", seed, "--log", path, "--", sys.executable, "-c", script)
                self.assertEqual(result.returncode, 0, result.stderr)
                logs[name] = path.read_text()
        self.assertGreater(logs["first"].count("\n"), 900)
        self.assertIn("cuEventQuery 600 ", logs["first"])
        self.assertEqual(logs["first"], logs["second"])
        self.assertNotEqual(logs["first"], logs["other"])

    def test_a_log_breaks_no_rule(self):
        script = USE_DEVICE + """
stream = ctypes.c_void_p()
assert cuda.cudaStreamCreateWithFlags(ctypes.byref(stream), 1) == 0
assert cuda.cudaStreamDestroy(stream) == 0
assert cuda.cudaStreamSynchronize(stream) != 0
"""
        with tempfile.TemporaryDirectory() as folder:
            plain, logged = (self.report(run("--strict", *options, "--", sys.executable, "-c", script))
                             for options in ([], ["--log", pathlib.Path(folder) / "log"]))  # fmt: skip
        self.assertEqual(len([line for line in plain if "STR-1" in line]), 1, plain)
        self.assertEqual(len([line for line in logged if "STR-1" in line]), 1, logged)

    def test_other_processes_write_logs_of_their_own(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "log"
            script = pathlib.Path(folder) / "use.py"
            script.write_text(USE_DEVICE)
            result = run("--log", path, "--", "sh", "-c", f"'{sys.executable}' '{script}'; true")
            self.assertEqual(result.returncode, 0, result.stderr)
            logs = list(pathlib.Path(folder).glob("log.*"))
            self.assertEqual(len(logs), 1, logs)
            self.assertIn("cuMemAlloc 0 ", logs[0].read_text())

    def test_defaults_come_from_the_environment(self):
        script = "echo $GAPLESS_SIM"
        result = run("--seed", "3", "--", "sh", "-c", script, environment={"GAPLESS_SIM": "size=1GiB,free_orders=0,seed=2,stats=x"})
        self.assertIn("seed=3,", result.stdout)
        self.assertIn("size=1073741824,", result.stdout)
        self.assertIn("free_orders=0", result.stdout)
        self.assertNotIn("stats=", result.stdout)
        self.assertEqual(run("true", environment={"GAPLESS_SIM": "sise=1"}).returncode, 125)


class Statistics(unittest.TestCase):
    def stats_of(self, *arguments, **options):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "stats.json"
            result = run("--stats", path, *arguments, **options)
            self.assertEqual(result.returncode, 0, result.stderr)
            return {entry.name: json.loads(entry.read_text()) for entry in pathlib.Path(folder).iterdir()}

    def test_file(self):
        stats = self.stats_of("--", sys.executable, "-c", USE_DEVICE)["stats.json"]
        self.assertEqual(stats["driver_calls"]["cudaMalloc"], 1)
        self.assertEqual(stats["physical_bytes"], 64 << 20)
        self.assertEqual(stats["physical_bytes_peak"], 64 << 20)
        self.assertEqual(stats["violations"], 0)
        self.assertEqual(stats["seed"], 1)
        self.assertIn("gapless-sim --stats", stats["again"])
        # The runtime's own driver calls are not counted a second time.
        self.assertNotIn("cuMemAlloc", stats["driver_calls"])

    def test_launches_of_which_nobody_knows_what_they_touch_are_named(self):
        script = USE_DEVICE + """
class Range(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("write", ctypes.c_bool)]

operation = ctypes.CDLL("libcuda.so.1").gapless_sim_operation_on
for name, sizes in ((b"nothing known", []), (b"strided", [0, 0]), (b"dense", [512, 0])):
    ranges = (Range * len(sizes))(*(Range(pointer.value, size, True) for size in sizes))
    assert operation(name, None, ranges, ctypes.c_size_t(len(sizes))) == 0
"""
        for options, expected in ((["--strict"], {"nothing known": 1, "strided": 1}), ([], {})):
            stats = self.stats_of(*options, "--", sys.executable, "-c", script)["stats.json"]
            self.assertEqual(stats["launches_not_judged"], expected)

    def test_what_is_not_simulated_is_named(self):
        stats = self.stats_of("--", sys.executable, "-c", USE_DEVICE + "\nassert cuda.cudaDeviceReset() == 801")["stats.json"]
        self.assertEqual(stats["missing_calls"], {"cudaDeviceReset": 1})

    def test_children_do_not_overwrite_it(self):
        fork = USE_DEVICE + "\nimport os, sys\nif os.fork() == 0:\n    sys.exit(0)\nos.wait()"
        files = self.stats_of("--", sys.executable, "-c", fork)
        self.assertEqual(list(files), ["stats.json"])
        self.assertEqual(files["stats.json"]["physical_bytes"], 64 << 20)
        spawn = USE_DEVICE + f"\nimport subprocess, sys\nsubprocess.run([sys.executable, '-c', {USE_DEVICE!r}], check=True)"
        files = self.stats_of("--", sys.executable, "-c", spawn)
        self.assertEqual(len(files), 2)
        self.assertEqual(files["stats.json"]["driver_calls"]["cudaMalloc"], 1)

    def test_size_and_other_process_bytes(self):
        script = USE_DEVICE + """
free, total = ctypes.c_size_t(), ctypes.c_size_t()
assert cuda.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) == 0
assert total.value == 1 << 30, total
assert free.value == (1 << 30) - (256 << 20) - (64 << 20), free
assert cuda.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(800 << 20)) == 2
"""
        self.stats_of("--size", "1GiB", "--other-process-bytes", "256MiB", "--", sys.executable, "-c", script)

    def test_devices(self):
        script = """
import ctypes
cuda = ctypes.CDLL("libcudart.so.13")
count = ctypes.c_int()
assert cuda.cudaGetDeviceCount(ctypes.byref(count)) == 0 and count.value == 3
assert cuda.cudaSetDevice(2) == 0 and cuda.cudaFree(None) == 0 and cuda.cudaSetDevice(3) == 101
"""
        self.assertEqual(len(self.stats_of("--devices", "3", "--", sys.executable, "-c", script)["stats.json"]["devices"]), 3)


if __name__ == "__main__":
    unittest.main()
