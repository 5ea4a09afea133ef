# SPDX-License-Identifier: Apache-2.0
"""Snapshots, memory history, profiler and trace hooks."""

import pickle

import pytest
import torch
from torch.cuda import _memory_viz

MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_history():
    yield
    torch.cuda.memory._record_memory_history(None)


def blocks(snapshot):
    return [block for segment in snapshot["segments"] for block in segment["blocks"]]


def allocate_here():
    return torch.empty(3 * MIB, dtype=torch.uint8, device="cuda")


def test_a_snapshot_shows_every_block():
    tensors = [torch.empty(size, dtype=torch.uint8, device="cuda") for size in (100, 3 * MIB, 25 * MIB)]
    snapshot = torch.cuda.memory._snapshot()
    assert set(snapshot) == {"segments", "device_traces", "allocator_settings", "external_annotations"}
    assert len(snapshot["device_traces"]) == torch.cuda.device_count()
    for segment in snapshot["segments"]:
        assert segment["total_size"] == sum(block["size"] for block in segment["blocks"])
        assert segment["segment_pool_id"] == (0, 0)
    live = {block["address"]: block for block in blocks(snapshot) if block["state"] == "active_allocated"}
    for tensor in tensors:
        assert live[tensor.data_ptr()]["requested_size"] == tensor.numel()
    assert sum(block["size"] for block in live.values()) == torch.cuda.memory_allocated()
    assert sum(segment["total_size"] for segment in snapshot["segments"]) == torch.cuda.memory_reserved()
    addresses = [segment["address"] for segment in snapshot["segments"]]
    assert addresses == sorted(addresses)


def test_the_settings_are_filled():
    settings = torch.cuda.memory._snapshot()["allocator_settings"]
    assert settings["garbage_collection_threshold"] == 0.0
    assert settings["pinned_num_register_threads"] >= 1
    assert settings["expandable_segments"] is False


def test_contexts_are_those_of_the_caller():
    torch.cuda.memory._record_memory_history(context="all", stacks="python")
    tensor = allocate_here()
    snapshot = torch.cuda.memory._snapshot()
    block = next(b for b in blocks(snapshot) if b["address"] == tensor.data_ptr())
    assert any(frame["name"] == "allocate_here" for frame in block["frames"])
    address = tensor.data_ptr()
    del tensor
    trace = [e for e in torch.cuda.memory._snapshot()["device_traces"][0] if e["addr"] == address]
    actions = [entry["action"] for entry in trace if entry["action"] in ("alloc", "free_requested", "free_completed")]
    assert actions == ["alloc", "free_requested", "free_completed"]
    assert all(entry["size"] == 3 * MIB for entry in trace if entry["action"] == "alloc")
    allocated = next(entry for entry in trace if entry["action"] == "alloc")
    assert any(frame["name"] == "allocate_here" for frame in allocated["frames"])
    times = [entry["time_us"] for entry in trace]
    assert times == sorted(times) and times[0] > 1_000_000_000_000_000  # microseconds since 1970


def test_state_records_stacks_of_live_blocks_only():
    torch.cuda.memory._record_memory_history(context="state", stacks="python")
    tensor = allocate_here()
    snapshot = torch.cuda.memory._snapshot()
    block = next(b for b in blocks(snapshot) if b["address"] == tensor.data_ptr())
    assert any(frame["name"] == "allocate_here" for frame in block["frames"])
    assert not any(entry.get("frames") for entry in snapshot["device_traces"][0])


def test_the_ring_keeps_the_newest():
    torch.cuda.memory._record_memory_history(max_entries=7, context=None)
    for size in range(1, 40):
        torch.empty(size * 512, dtype=torch.uint8, device="cuda")
    trace = torch.cuda.memory._snapshot()["device_traces"][0]
    assert len(trace) == 7
    assert max(entry["size"] for entry in trace) == 39 * 512


def test_actions_can_be_skipped():
    torch.cuda.memory._record_memory_history(context=None, skip_actions=["free_requested", "free_completed"])
    del_me = allocate_here()
    del del_me
    actions = {entry["action"] for entry in torch.cuda.memory._snapshot()["device_traces"][0]}
    assert "alloc" in actions
    assert not actions & {"free_requested", "free_completed"}


def test_an_unknown_action_is_refused():
    with pytest.raises((ValueError, RuntimeError)):
        torch.cuda.memory._record_memory_history(context=None, skip_actions=["nonsense"])


def test_recording_stops_and_clears():
    torch.cuda.memory._record_memory_history(context=None)
    keep = allocate_here()
    assert torch._C._cuda_isHistoryEnabled()
    torch.cuda.memory._record_memory_history(None)
    assert not torch._C._cuda_isHistoryEnabled()
    assert torch.cuda.memory._snapshot()["device_traces"][0] == []
    del keep


def test_an_oom_is_recorded():
    torch.cuda.memory._record_memory_history(context=None)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(1 << 45, dtype=torch.uint8, device="cuda")
    ooms = [entry for entry in torch.cuda.memory._snapshot()["device_traces"][0] if entry["action"] == "oom"]
    assert len(ooms) == 1
    assert ooms[0]["size"] >= 1 << 45
    assert 0 < ooms[0]["device_free"] <= torch.cuda.mem_get_info()[1]


def test_user_metadata_marks_entries():
    torch.cuda.memory._record_memory_history(context=None)
    torch.cuda.memory._set_memory_metadata("phase one")
    try:
        assert torch.cuda.memory._get_memory_metadata() == "phase one"
        keep = allocate_here()
    finally:
        torch.cuda.memory._set_memory_metadata("")
    also = allocate_here()
    trace = torch.cuda.memory._snapshot()["device_traces"][0]
    marks = {entry["addr"]: entry["user_metadata"] for entry in trace if entry["action"] == "alloc"}
    assert marks[keep.data_ptr()] == "phase one"
    assert marks[also.data_ptr()] == ""


def test_annotations_are_kept():
    torch.cuda.memory._record_memory_history(context=None, global_record_annotations=True)
    with torch.profiler.record_function("a part of the step"):
        allocate_here()
    names = [entry["name"] for entry in torch.cuda.memory._snapshot()["external_annotations"]]
    assert names.count("a part of the step") == 2  # begin and end


def test_the_viewer_s_functions_read_it(tmp_path):
    torch.cuda.memory._record_memory_history(context="all", stacks="python")
    keep = [allocate_here() for _ in range(3)]
    del keep[1]
    path = tmp_path / "snapshot.pickle"
    torch.cuda.memory._dump_snapshot(str(path))
    snapshot = pickle.loads(path.read_bytes())
    assert "active_allocated" in _memory_viz.segsum(snapshot) or "MiB" in _memory_viz.segsum(snapshot)
    assert "alloc" in _memory_viz.trace(snapshot)
    assert "<html" in _memory_viz.trace_plot(snapshot).lower()
    assert "<html" in _memory_viz.segment_plot(snapshot).lower()


def test_the_profiler_sees_device_memory():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        tensor = allocate_here()
        del tensor
    changes = {(event.name, event.device_memory_usage) for event in profile.events()}
    assert ("aten::empty", 3 * MIB) in changes
    assert ("[memory]", -3 * MIB) in changes  # freed outside of any operator


def test_gpu_trace_hooks_fire(child):
    source = """
import torch
from torch.cuda import _gpu_trace
seen = []
_gpu_trace.register_callback_for_memory_allocation(lambda address: seen.append(('a', address)))
_gpu_trace.register_callback_for_memory_deallocation(lambda address: seen.append(('d', address)))
torch._C._activate_gpu_trace()
tensor = torch.empty(1000, device='cuda')
address = tensor.data_ptr()
del tensor
print(seen == [('a', address), ('d', address)])
"""
    done = child(source)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stdout + done.stderr
