# SPDX-License-Identifier: Apache-2.0
"""PYTORCH_CUDA_ALLOC_CONF: which variable, which grammar, which errors, what stays after another string."""

import os

import torch
from harness import GIB, MIB, block, case, raised

KEYS = ("max_split_size", "garbage_collection_threshold", "expandable_segments", "pinned_num_register_threads",
        "release_lock_on_cudamalloc", "pinned_use_cuda_host_register", "graph_capture_record_stream_reuse", "roundup_power2_divisions")


def change(text):
    torch._C._accelerator_setAllocatorSettings(text)


def settings():
    torch.cuda.init()
    known = torch.cuda.memory._snapshot()["allocator_settings"]
    return {key: known[key] for key in KEYS}


def rounded(size):
    torch.cuda.init()
    before = torch.cuda.memory_stats()["active_bytes.all.current"]
    keep = block(size)
    return torch.cuda.memory_stats()["active_bytes.all.current"] - before + 0 * keep.numel()


@case()
def defaults():
    return settings()


@case(settings="max_split_size_mb:100,garbage_collection_threshold:0.7,expandable_segments:True,pinned_num_register_threads:4,"
               "pinned_use_cuda_host_register:True,release_lock_on_cudamalloc:True,graph_capture_record_stream_reuse:True")
def every_key_shows():
    return settings()


@case(environment={"PYTORCH_ALLOC_CONF": "max_split_size_mb:50"}, settings="max_split_size_mb:100")
def the_cuda_variable_wins():
    return settings()["max_split_size"]


@case(environment={"PYTORCH_ALLOC_CONF": "max_split_size_mb:50"})
def the_other_variable_alone():
    return settings()["max_split_size"]


@case(environment={"PYTORCH_ALLOC_CONF": "max_split_size_mb:50", "PYTORCH_CUDA_ALLOC_CONF": ""})
def an_empty_cuda_variable():
    return settings()["max_split_size"]


@case(settings="roundup_power2_divisions:4")
def numbers_of_one_division():
    return [rounded(size) for size in (1, 513, 1200, 2049, 3000, 100_000, MIB, MIB + 1, 7 * MIB + 5, 84 * MIB, 514 * MIB, GIB)]


@case(settings="roundup_power2_divisions:1")
def one_division_is_none():
    return [rounded(size) for size in (1200, 100_000, 514 * MIB)]


@case(settings="roundup_power2_divisions:[256:1,512:2,1024:4,>:8]")
def intervals_begin_at_their_keys():
    return [rounded(size * MIB) for size in (3, 100, 254, 256, 400, 512, 700, 1024, 1500, 2048, 2500)]


@case(settings="roundup_power2_divisions:[64:8,256:4,1024:4,>:1]")
def intervals_left_out_round_nothing():
    return [rounded(size * MIB + 1) for size in (1, 63, 100, 130, 200, 300, 600, 1100, 2100)]


@case(settings="roundup_power2_divisions:[>:4]")
def the_rest_begins_at_two_mib():
    return [rounded(size) for size in (3000, MIB + 1, 2 * MIB - 1, 2 * MIB + 1, 9 * MIB)]


@case()
def rounding_set_and_reset():
    torch.cuda.init()
    seen = []
    for text in ("roundup_power2_divisions:8", "roundup_power2_divisions:[64:8,128:2,256:2,512:2,1024:1,>:1]", "max_split_size_mb:40", ""):
        change(text)
        torch.cuda.empty_cache()
        seen.append([rounded(size * MIB) for size in (18, 84, 130, 400, 700)])
    return seen


@case()
def a_new_string_resets_some_keys():
    change("max_split_size_mb:100,garbage_collection_threshold:0.5,roundup_power2_divisions:4,expandable_segments:True,"
           "pinned_num_register_threads:2")
    first = settings()
    change("")
    return first, settings()


BAD = ("foo:1", "foo:1,bar:2", "max_split_size_mb:2", "max_split_size_mb:abc", "max_split_size_mb", "expandable_segments:true",
       "expandable_segments:1", "garbage_collection_threshold:1.2", "garbage_collection_threshold:0", "garbage_collection_threshold:-1",
       "release_lock_on_cudamalloc:none", "pinned_use_cuda_host_register:none", "pinned_num_register_threads:none",
       "pinned_num_register_threads:1024", "roundup_power2_divisions:3", "roundup_power2_divisions:[65:4]",
       "roundup_power2_divisions:[64:3]", "roundup_power2_divisions:[64:4", "per_process_memory_fraction:1.5",
       "per_process_memory_fraction:-0.1", "large_segment_size_mb:10", "max_non_split_rounding_mb:1", "backend:none",
       "graph_capture_record_stream_reuse:maybe", "throw_on_cudamalloc_oom:True")


@case()
def bad_strings_at_run_time():
    torch.cuda.init()
    return {text: raised(change, text) for text in BAD}


@case()
def bad_strings_leave_the_device_usable():
    torch.cuda.init()
    before = [rounded(size) for size in (1200, 84 * MIB)]
    for text in BAD:
        raised(change, text)
    change("")
    return before == [rounded(size) for size in (1200, 84 * MIB)]


def in_children(strings):
    """CUDA is started once a process, so each string has one of its own."""
    seen = {}
    for text in strings:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.environ["PYTORCH_CUDA_ALLOC_CONF"] = text
            os.write(writing, raised(torch.cuda.init).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            seen[text] = pipe.read()
        os.waitpid(child, 0)
    return seen


@case()
def bad_strings_of_the_environment():
    return in_children(["foo:1", "max_split_size_mb:2", "expandable_segments:true", "per_process_memory_fraction:2",
                        "roundup_power2_divisions:[64:4", "max_split_size_mb", ":", ",", "max_split_size_mb:", ":::", "[", "]", "[[,]]:",
                        "backend:none"])


@case(settings="backend:native")
def the_backend_may_be_named():
    torch.cuda.init()
    keep = block(MIB)
    return torch.cuda.memory.get_allocator_backend(), torch.empty(10, pin_memory=True).is_pinned(), keep.numel()


@case()
def separators_are_not_looked_at():
    return in_children(["max_split_size_mb,100", "max_split_size_mb:100:garbage_collection_threshold:0.5", "  max_split_size_mb : 100 ",
                        "max_split_size_mb:100,", ",max_split_size_mb:100", "max_split_size_mb:12abc", "max_split_size_mb:-1"])


@case(settings="per_process_memory_fraction:0.5", device="size=2GiB")
def a_fraction_in_the_environment():
    torch.cuda.init()
    return torch.cuda.get_per_process_memory_fraction(), raised(block, GIB + GIB // 4)[:40], block(GIB // 2).numel()


@case(device="size=2GiB")
def a_fraction_at_run_time():
    torch.cuda.init()
    change("per_process_memory_fraction:0.5")
    return torch.cuda.get_per_process_memory_fraction(), raised(block, GIB + GIB // 4)[:40]


@case(settings="garbage_collection_threshold:0.5", device="size=2GiB")
def collection_needs_a_fraction():
    """Nothing is collected without one: what was cached is used again, at no cost."""
    for _ in range(4):
        kept = [block(300 * MIB) for _ in range(3)]
        del kept
    calls = torch.cuda.memory_stats()["num_device_alloc"]
    again = [block(300 * MIB) for _ in range(3)]
    return torch.cuda.memory_stats()["num_device_alloc"] - calls, len(again)


@case(settings="max_split_size_mb:40", device="size=2GiB")
def a_cached_block_within_the_rounding_serves():
    """The file's comment says within 1 MiB, the code is content with 20."""
    first = block(115 * MIB)
    address = first.data_ptr()
    del first
    calls = torch.cuda.memory_stats()["num_device_alloc"]
    return block(100 * MIB).data_ptr() == address, torch.cuda.memory_stats()["num_device_alloc"] - calls


@case(device="size=4GiB")
def mixed_modes_below_a_cap():
    """Expandable segments switched on and off, with max_split_size and collection, below a cap of 120 MiB."""
    torch.cuda.init()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(120 * MIB / total)
    seen = []
    for extra in ("max_split_size_mb:40", "garbage_collection_threshold:0.5"):
        for mode in (False, True, False):
            change(f"expandable_segments:{mode},{extra}")
            seen.append(raised(lambda: [block(40 * MIB) for _ in range(2)] and None))
            seen.append(raised(lambda: block(100 * MIB) and None) if extra[0] == "g" else "")
            seen.append(torch.cuda.memory_reserved() <= 120 * MIB)
    return seen
