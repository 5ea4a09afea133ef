# SPDX-License-Identifier: Apache-2.0
"""When gapless cannot be installed: PyTorch's allocator stays and works, one line says why, the exit code is the program's."""

import os

import pytest
from conftest import WARNING, Device, warnings_of

USE = """
import torch
tensor = torch.ones(1000, device='cuda')
print('allocated', torch.cuda.memory_allocated(), torch.cuda.memory.get_allocator_backend())
import sys; sys.exit(7)
"""
INSTALL = "import gapless; print(gapless.install())\n"


def refused(done, why, *, backend="native"):
    assert done.returncode == 7, done.stderr
    assert f"allocated 4096 {backend}" in done.stdout
    assert len(warnings_of(done)) == 1, done.stderr
    assert warnings_of(done)[0].startswith(WARNING)
    assert why in warnings_of(done)[0]


def both_ways(device, prelude="", **options):
    yield device.python(prelude + USE, preload=True, **options)
    yield device.python(prelude + INSTALL + USE, **options)


# PyTorch's version is a constant that a function of libtorch_cpu returns: this puts another function there.
OTHER_VERSION = """
import ctypes, mmap, torch
libc = ctypes.CDLL(None)
function = ctypes.cast(ctypes.CDLL('libtorch_cpu.so').aoti_torch_abi_version, ctypes.c_void_p).value
page = function & -mmap.PAGESIZE
assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(2 * mmap.PAGESIZE), 7) == 0
code = b'\\x48\\xb8' + ((2 << 56) | (MINOR << 48)).to_bytes(8, 'little') + b'\\xc3'
ctypes.memmove(function, code, len(code))
"""


def test_another_version_of_pytorch(device):
    prelude = OTHER_VERSION.replace("MINOR", "3")
    refused(device.python(prelude + USE, preload=True), "this is PyTorch 2.3, and there is no")
    # install() finds the library by torch.__version__, the library then asks PyTorch itself.
    refused(device.python(prelude + INSTALL + USE), "this is PyTorch 2.3, the library was built for 2.11")


# An allocator interface of another shape: what a nightly looks like.
OTHER_INTERFACE = """
import ctypes, mmap, torch
libc = ctypes.CDLL(None)
table = ctypes.cast(getattr(ctypes.CDLL('libtorch_cuda.so'), '_ZTVN5torch4cuda22CUDAPluggableAllocator22CUDAPluggableAllocatorE'),
                    ctypes.c_void_p).value
page = table & -mmap.PAGESIZE
assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(2 * mmap.PAGESIZE), 3) == 0
slots = (ctypes.c_void_p * 52).from_address(table)
slots[2 + 16], slots[2 + 15] = slots[2 + 15], slots[2 + 16]
"""


def test_another_interface_of_the_same_version(device):
    for done in both_ways(device, OTHER_INTERFACE):
        refused(done, "its allocator interface differs")


def test_a_late_install(device):
    refused(device.python("import torch; torch.cuda.init()\n" + INSTALL + USE), "already in use")


@pytest.mark.parametrize("variable", ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"])
def test_cuda_malloc_async_chosen_by_the_user(device, variable):
    done = device.python(USE, preload=True, environment={variable: "backend:cudaMallocAsync"})
    assert done.returncode == 7, done.stderr
    assert done.stdout.split()[-1] == "cudaMallocAsync"
    assert [WARNING in line and "cudaMallocAsync" in line for line in warnings_of(done)] == [True]


def test_another_allocator_chosen_by_the_user(device):
    source = """
import os, subprocess, sys, tempfile, torch
from torch.cuda.memory import CUDAPluggableAllocator, change_current_allocator
folder = tempfile.mkdtemp()
open(folder + '/a.c', 'w').write('''
#include <stddef.h>
#include <sys/types.h>
int cudaMalloc(void**, size_t); int cudaFree(void*);
void* my_alloc(ssize_t n, int d, void* s) { void* p = 0; (void)d; (void)s; cudaMalloc(&p, (size_t)n); return p; }
void my_free(void* p, ssize_t n, int d, void* s) { (void)n; (void)d; (void)s; cudaFree(p); }
''')
clean = {k: v for k, v in os.environ.items() if k != 'LD_PRELOAD'}
subprocess.run(['cc', '-shared', '-fPIC', '-o', folder + '/a.so', folder + '/a.c'], check=True, env=clean)
change_current_allocator(CUDAPluggableAllocator(folder + '/a.so', 'my_alloc', 'my_free'))
tensor = torch.ones(1000, device='cuda')
print(torch.cuda.memory.get_allocator_backend(), tensor.data_ptr() != 0)
sys.exit(7)
"""
    done = device.python(source, preload=True)
    assert (done.returncode, done.stdout.split()) == (7, ["pluggable", "True"]), done.stderr
    assert [WARNING in line and "'pluggable' was installed before" in line for line in warnings_of(done)] == [True]


@pytest.mark.parametrize("library", ["libgapless.so.1", "libgapless_torch2.11.so"])
def test_a_missing_file(copied_libraries, library):
    (copied_libraries.libraries / library).unlink()
    refused(copied_libraries.python(USE, preload=True), library)


def test_a_missing_file_and_install(copied_libraries):
    for file in copied_libraries.libraries.glob("libgapless_torch*"):
        file.unlink()
    refused(copied_libraries.python(INSTALL + USE, environment={"GAPLESS_NO_BUILD": "1"}), "there is no")


def test_a_library_that_is_none(copied_libraries):
    (copied_libraries.libraries / "libgapless_torch2.11.so").write_bytes(b"not a library")
    for done in both_ways(copied_libraries):
        refused(done, "")


@pytest.mark.parametrize("library", ["libgapless.so.1", "libgapless_torch2.11.so"])
def test_a_library_that_others_may_write(copied_libraries, library):
    (copied_libraries.libraries / library).chmod(0o777)
    refused(copied_libraries.python(USE, preload=True), "writable by others")


def test_a_folder_that_others_may_write(copied_libraries):
    copied_libraries.libraries.chmod(0o777)
    refused(copied_libraries.python(USE, preload=True), "its folder is writable by others")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_library_of_another_user(copied_libraries):
    os.chown(copied_libraries.libraries / "libgapless.so.1", 12345, -1)
    refused(copied_libraries.python(USE, preload=True), "belongs to another user")


def test_a_device_without_virtual_memory_management(device):
    for way in ("preload", "install", "pluggable"):
        prelude = {"preload": "", "install": INSTALL, "pluggable": """
import glob, os, torch
library, = glob.glob(os.environ['GAPLESS_LIBRARY_DIR'] + '/libgapless_torch*.so')
torch.cuda.memory.change_current_allocator(torch.cuda.memory.CUDAPluggableAllocator(library, 'gapless_malloc', 'gapless_free'))
torch.ones(1, device='cuda')
"""}[way]
        done = device.python(prelude + USE, preload=way == "preload", sim_config="virtual_memory=0")
        refused(done, "virtual memory")


def test_no_device_at_all():
    """PyTorch's own words stay, and gapless adds none."""
    done = Device().python("import torch\ntry:\n    torch.ones(1, device='cuda')\nexcept RuntimeError as error:\n    print('raised')",
                           preload=True, sim=False, environment={"CUDA_VISIBLE_DEVICES": "", "LD_PRELOAD": ""})
    assert (done.returncode, done.stdout.split(), warnings_of(done)) == (0, ["raised"], []), done.stderr


def test_strict_raises(device):
    source = """
import gapless, torch
torch.cuda.init()
try:
    gapless.install(strict=True)
except gapless.InstallError as error:
    print('raised')
"""
    done = device.python(source)
    assert (done.returncode, done.stdout.split()) == (0, ["raised"]), done.stderr
