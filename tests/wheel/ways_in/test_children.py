# SPDX-License-Identifier: Apache-2.0
"""LD_PRELOAD reaches every child of a job: none may notice."""

import subprocess
import sys

import pytest
from conftest import LIBRARIES, warnings_of


def quiet(done, output=""):
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


@pytest.mark.parametrize("command, output", [
    (["/bin/true"], ""),
    (["bash", "-c", "echo hello; (echo sub); cat <<< there"], "hello\nsub\nthere\n"),
    (["sh", "-c", "echo hello | tr a-z A-Z"], "HELLO\n"),
    ([sys.executable, "-c", "print('hello')"], "hello\n"),
    ([sys.executable, "-I", "-c", "print('hello')"], "hello\n"),
    ([sys.executable, "-c", "import subprocess; print(subprocess.check_output(['bash', '-c', 'echo hello'], text=True), end='')"],
     "hello\n"),
])
@pytest.mark.parametrize("sim", [False, True])
def test_programs_that_do_not_use_cuda(device, command, output, sim):
    quiet(device.run(command, preload=True, sim=sim, environment=None if sim else {"LD_PRELOAD": ""}), output)


def test_exit_codes_pass_through(device):
    assert device.run(["bash", "-c", "exit 5"], preload=True).returncode == 5


def test_isolated_python_gets_gapless_too(device):
    """python -I drops PYTHONPATH and site customisation, not the preload."""
    source = """
import torch
torch.cuda.init()
print(torch.cuda.memory.get_allocator_backend(), any('libgapless_torch' in line for line in open('/proc/self/maps')))
"""
    done = device.python(source, flags=["-I"], preload=True)
    assert (done.returncode, done.stdout.split(), warnings_of(done)) == (0, ["native", "True"], []), done.stderr


def test_forked_workers_that_leave_cuda_alone(device):
    source = """
import os, torch
from torch.utils.data import DataLoader, TensorDataset
held = torch.ones(1 << 20, device='cuda')
batches = list(DataLoader(TensorDataset(torch.arange(64.)), batch_size=8, num_workers=2, multiprocessing_context='fork'))
print(len(batches), torch.cuda.memory_allocated())
child = os.fork()
if child == 0:
    del held  # bookkeeping only: the parent's memory is not the child's
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), held.sum().shape)
"""
    done = device.python(source, preload=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["8", str(4 << 20), "0", "torch.Size([])"]


def test_forked_before_cuda_both_get_gapless(device):
    source = """
import os, torch
import gapless
child = os.fork()
tensor = torch.ones(1000, device='cuda')
fine = gapless.is_installed() and torch.cuda.memory_allocated() == 4096
if child == 0:
    os._exit(0 if fine else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), fine)
"""
    done = device.python(source, preload=True)
    assert (done.returncode, done.stdout.split()) == (0, ["0", "True"]), done.stderr


def test_spawned_workers_use_it(device, tmp_path):
    script = tmp_path / "spawn.py"
    script.write_text("""
import torch
import torch.multiprocessing as multiprocessing

def work(rank, queue):
    import gapless
    torch.ones(1000, device='cuda')
    queue.put((rank, gapless.is_installed()))

if __name__ == '__main__':
    torch.ones(1000, device='cuda')
    context = multiprocessing.get_context('spawn')
    queue = context.SimpleQueue()
    workers = [context.Process(target=work, args=(rank, queue)) for rank in range(2)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    print(sorted(queue.get() for _ in workers), [worker.exitcode for worker in workers])
""")
    done = device.run([sys.executable, script], preload=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(0, True), (1, True)] [0, 0]"


def test_the_preload_needs_libc_only():
    dynamic = subprocess.run(["readelf", "-d", LIBRARIES / "libgapless_preload.so"], capture_output=True, text=True, check=True).stdout
    needed = [line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line]
    assert needed == ["libc.so.6"]


def test_the_torch_library_does_not_need_the_runtime():
    library = next(LIBRARIES.glob("libgapless_torch*.so"))
    dynamic = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    needed = {line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line}
    assert {"libc10.so", "libc10_cuda.so"} <= needed
    assert not [name for name in needed if "cudart" in name or "torch" in name or name.startswith("libcuda")]


@pytest.mark.parametrize("library, allowed", [
    ("libgapless_preload.so", ("_ZN3c104cuda28device_count_ensure_non_zeroEv",)),
    ("libgapless_torch2.11.so", ("gapless_",)),
])
def test_nothing_else_is_exported(library, allowed):
    symbols = subprocess.run(["nm", "-D", "--defined-only", LIBRARIES / library], capture_output=True, text=True, check=True).stdout
    # "u": statics of PyTorch's inline functions, of which the process must share one.
    exported = [line.split()[2] for line in symbols.splitlines() if line.split()[1] != "u"]
    assert exported
    assert [name for name in exported if not name.startswith(allowed)] == []


def test_a_compiled_library_beside_the_preloaded_one(device, copied_libraries):
    """PyTorch runs on the prebuilt one: questions are put to that, whichever would be chosen anew."""
    source = """
import pathlib, torch
from gapless import _build_torch
import gapless
torch.ones(1000, device='cuda')
_build_torch.compiled = lambda torch: pathlib.Path(%r)
print(gapless.is_installed(), gapless.stats(0)['allocated_bytes.all.peak'] > 0)
""" % str(copied_libraries.libraries / "libgapless_torch2.11.so")
    done = device.python(source, preload=True)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr


def test_a_library_for_another_pytorch_is_passed_by(device):
    done = device.python("import torch, gapless; torch.ones(1, device='cuda'); print(gapless.is_installed())", preload=True,
                         environment={"GAPLESS_TORCH_LIBRARY": "/elsewhere/libgapless_torch2.10.so"})
    assert (done.returncode, done.stdout.split(), warnings_of(done)) == (0, ["True"], []), done.stderr
