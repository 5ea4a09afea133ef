# SPDX-License-Identifier: Apache-2.0
"""The three ways in: each makes the same allocator PyTorch's."""

import json

import pytest
from conftest import LIBRARIES, warnings_of

# Trains a little and says what it sees. The first line is the way's.
SCRIPT = """
import json, sys, torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 8)).cuda()
optimizer = torch.optim.AdamW(model.parameters())
for step in range(6):
    batch = torch.randn(32 + step, 256, device='cuda')
    model(batch).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
try:
    torch.empty(1 << 45, dtype=torch.uint8, device='cuda')
    oom = None
except torch.OutOfMemoryError as error:
    oom = str(error)
pool = torch.cuda.MemPool()
with torch.cuda.use_mem_pool(pool):
    pooled = torch.empty(1 << 20, device='cuda')
stats = torch.cuda.memory_stats()
import gapless
print(json.dumps({
    'installed': gapless.is_installed(),
    'keys': len(stats),
    'allocated': stats['allocated_bytes.all.current'],
    'segments': len(torch.cuda.memory_snapshot()),
    'pool': sum(segment['allocated_size'] for segment in pool.snapshot()),
    'backend': torch.cuda.memory.get_allocator_backend(),
    'hits': gapless.stats()['hits'],
    'oom': oom,
}))
"""

PLUGGABLE = """
import glob, os, torch
library, = glob.glob(os.environ['GAPLESS_LIBRARY_DIR'] + '/libgapless_torch*.so')
torch.cuda.memory.change_current_allocator(torch.cuda.memory.CUDAPluggableAllocator(library, 'gapless_malloc', 'gapless_free'))
"""


def run(device, way):
    if way == "preload":
        return device.python(SCRIPT, preload=True)
    if way == "sim":
        return device.python(SCRIPT, sim_options=["--gapless"])
    return device.python((PLUGGABLE if way == "pluggable" else "import gapless; assert gapless.install()\n") + SCRIPT)


@pytest.mark.parametrize("way", ["preload", "sim", "pluggable", "install"])
def test_a_training_loop_runs_on_gapless(device, way):
    done = run(device, way)
    assert done.returncode == 0, done.stderr
    assert warnings_of(done) == []
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["installed"] is True
    assert found["keys"] == 122
    assert found["allocated"] > 0
    assert found["segments"] > 0
    assert found["pool"] == 4 << 20
    assert found["backend"] == "native"
    assert found["hits"] > 50
    assert found["oom"].startswith("CUDA out of memory. Tried to allocate 32768.00 GiB. GPU 0 has a total capacity of")


def test_install_may_be_called_again(device):
    done = device.python("import gapless; print(gapless.install(), gapless.install()); import torch; torch.cuda.init();"
                         "print(gapless.install(), gapless.is_installed())")
    assert (done.returncode, done.stdout.split()) == (0, ["True"] * 4), done.stderr
    assert warnings_of(done) == []


def test_install_after_the_preload_is_nothing_new(device):
    done = device.python("import torch; torch.cuda.init(); import gapless; print(gapless.install())", preload=True)
    assert (done.returncode, done.stdout.split(), warnings_of(done)) == (0, ["True"], []), done.stderr


def test_install_starts_no_cuda(device):
    """A parent that has installed may still fork children that use CUDA."""
    source = """
import gapless, os, torch
gapless.install()
child = os.fork()
if child == 0:
    tensor = torch.ones(1000, device='cuda')
    os._exit(0 if gapless.is_installed() and gapless.stats()['allocated_bytes.all.current'] == 4096 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = device.python(source)
    assert (done.returncode, done.stdout.split()) == (0, ["0"]), done.stderr


def test_the_object_can_be_handed_to_a_mempool(device):
    source = """
import gapless, torch
gapless.install()
torch.cuda.init()
pool = torch.cuda.MemPool(torch._C._cuda_getAllocator())
with torch.cuda.use_mem_pool(pool):
    tensor = torch.empty(1 << 20, device='cuda')
print(sum(segment['allocated_size'] for segment in pool.snapshot()))
"""
    done = device.python(source)
    assert (done.returncode, done.stdout.split()) == (0, [str(4 << 20)]), done.stderr


def test_gapless_as_the_source_of_its_own_pool(device):
    source = PLUGGABLE + """
import gapless
outside = torch.empty(1 << 20, device='cuda')  # from here on gapless answers, and no longer PyTorch's pluggable object
pool = torch.cuda.MemPool(torch.cuda.memory.CUDAPluggableAllocator(library, 'gapless_malloc', 'gapless_free').allocator())
with torch.cuda.use_mem_pool(pool):
    tensor = torch.empty(1 << 20, device='cuda')
print(gapless.is_installed(), sum(segment['allocated_size'] for segment in pool.snapshot()), torch.cuda.memory_allocated())
address = tensor.data_ptr()
del tensor
# The memory is the pool's still.
print(torch.empty(1 << 20, device='cuda').data_ptr() != address)
del pool
torch.cuda.empty_cache()
print(torch.cuda.memory_allocated())
"""
    done = device.python(source)
    assert (done.returncode, done.stdout.split()) == (0, ["True", str(4 << 20), str(8 << 20), "True", str(4 << 20)]), done.stderr


def test_gapless_as_the_source_of_a_native_pool(device):
    """gapless_malloc under a MemPool of the native allocator: gapless must not take the process over."""
    library = next(LIBRARIES.glob("libgapless_torch*.so"))
    source = f"""
import torch, gapless
torch.cuda.init()
source = torch.cuda.memory.CUDAPluggableAllocator({str(library)!r}, 'gapless_malloc', 'gapless_free')
pool = torch.cuda.MemPool(source.allocator())
with torch.cuda.use_mem_pool(pool):
    tensor = torch.empty(1 << 20, device='cuda')
print(gapless.is_installed(), sum(segment['allocated_size'] for segment in pool.snapshot()))
del tensor, pool
torch.cuda.empty_cache()
print(torch.cuda.memory_reserved())
"""
    done = device.python(source)
    assert (done.returncode, done.stdout.split()) == (0, ["False", str(4 << 20), "0"]), done.stderr
