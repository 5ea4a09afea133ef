# SPDX-License-Identifier: Apache-2.0
"""Settings: what is misspelt or useless is said once on stderr, what can change at run time does."""

from conftest import warnings_of

USE = "import torch; torch.ones(1, device='cuda')\n"
# An option as the core has it.
OPTION = """
import ctypes
from gapless import _libraries

def option(name):
    core = _libraries.core()
    core.gapless_get_option.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    value = ctypes.create_string_buffer(4096)
    assert core.gapless_get_option(_libraries.torch_library().gapless_torch_core(), name.encode(), value, len(value)) == 0
    return value.value.decode()
"""


def test_misspelt_settings_are_said(device):
    done = device.python(USE, preload=True, environment={"GAPLESS_CONF": "slak:1.05,granule:3MiB,limit:abc,granule=16MiB"})
    assert done.returncode == 0, done.stderr
    said = warnings_of(done)
    assert len(said) == 4, done.stderr
    for words in ("did you mean 'slack'?", "granule: '3MiB'", "limit: 'abc'", "granule=16MiB"):
        assert any(words in line for line in said), (words, said)
    assert warnings_of(device.python(USE, preload=True, environment={"GAPLESS_CONF": "slack:1.05"})) == []


def test_fabric_handles_that_the_device_does_not_make_are_said_once(device):
    asked = {"GAPLESS_CONF": "fabric_handles:true"}
    said = warnings_of(device.python(USE, preload=True, environment=asked))
    assert len(said) == 1 and "fabric_handles: device 0 makes none (it does not support them)" in said[0], said
    said = warnings_of(device.python(USE, preload=True, environment=asked, sim_config="fabric=1,fabric_permitted=0"))
    assert len(said) == 1 and "CUDA_ERROR_NOT_PERMITTED" in said[0], said
    assert warnings_of(device.python(USE, preload=True, environment=asked, sim_config="fabric=1")) == []


def test_settings_without_effect_are_said_once(device):
    source = USE + """
for _ in range(2):
    torch._C._accelerator_setAllocatorSettings('max_split_size_mb:100')
torch._C._accelerator_setAllocatorSettings('expandable_segments:False')
"""
    said = warnings_of(device.python(source, preload=True, environment={"PYTORCH_CUDA_ALLOC_CONF": "garbage_collection_threshold:0.5"}))
    assert [line.split(" has no effect")[0].split()[-1] for line in said] == [
        "garbage_collection_threshold", "max_split_size_mb", "expandable_segments:False"], said


def test_own_options_in_pytorch_s_string(device):
    source = USE + OPTION + "print(option('slack'))"
    done = device.python(source, preload=True, environment={"PYTORCH_CUDA_ALLOC_CONF": "gapless_slack:1.5,max_split_size_mb:100"})
    assert (done.returncode, done.stdout.split()) == (0, ["1.5"]), done.stderr


def test_rounding_changes_at_run_time(device):
    source = USE + OPTION + """
def active_bytes(size):
    before = torch.cuda.memory_stats()['active_bytes.all.current']
    tensor = torch.empty(size, dtype=torch.uint8, device='cuda')
    return torch.cuda.memory_stats()['active_bytes.all.current'] - before

print(active_bytes(5 << 20))
torch._C._accelerator_setAllocatorSettings('roundup_power2_divisions:2')
print(active_bytes(5 << 20), option('roundup_power2_divisions'))
torch._C._accelerator_setAllocatorSettings('')
print(active_bytes(5 << 20))
"""
    done = device.python(source, preload=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(5 << 20), str(6 << 20), "2", str(5 << 20)], done.stdout
    assert warnings_of(done) == []


def test_the_fraction_changes_at_run_time(device):
    source = USE + """
torch._C._accelerator_setAllocatorSettings('per_process_memory_fraction:0.25')
print(torch.cuda.get_per_process_memory_fraction())
try:
    torch.empty(1 << 30, dtype=torch.uint8, device='cuda')
except torch.OutOfMemoryError:
    print('refused')
torch.cuda.set_per_process_memory_fraction(1.0)
torch.empty(1 << 30, dtype=torch.uint8, device='cuda')
torch._C._accelerator_setAllocatorSettings('roundup_power2_divisions:2')
print(torch.cuda.get_per_process_memory_fraction())
"""
    done = device.python(source, preload=True, sim_options=["--size", "2GiB"])
    assert (done.returncode, done.stdout.split()) == (0, ["0.25", "refused", "1.0"]), done.stderr


def test_a_bad_string_raises_and_changes_nothing(device):
    source = USE + OPTION + """
before = option('roundup_power2_divisions'), option('memory_fraction')
for text in ('per_process_memory_fraction:7', 'no_such_key:1', 'roundup_power2_divisions:3'):
    try:
        torch._C._accelerator_setAllocatorSettings(text)
    except (ValueError, RuntimeError):
        print('raised')
print(before == (option('roundup_power2_divisions'), option('memory_fraction')))
"""
    done = device.python(source, preload=True)
    assert (done.returncode, done.stdout.split()) == (0, ["raised"] * 3 + ["True"]), done.stdout + done.stderr


def test_settings_after_handing_back_are_pytorch_s_alone(device):
    source = USE + """
torch._C._accelerator_setAllocatorSettings('roundup_power2_divisions:2,per_process_memory_fraction:0.5')
tensor = torch.empty(5 << 20, dtype=torch.uint8, device='cuda')
print(torch.cuda.memory_stats()['active_bytes.all.current'] >= 6 << 20)
"""
    done = device.python(source, preload=True, sim_config="virtual_memory=0")
    assert (done.returncode, done.stdout.split()) == (0, ["True"]), done.stderr
    assert len(warnings_of(done)) == 1, done.stderr  # that it is not installed
