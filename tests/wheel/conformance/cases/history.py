# SPDX-License-Identifier: Apache-2.0
"""Snapshots and recorded history: what dashboards and memory_viz read."""

import pickle
import tempfile

import torch
from harness import GIB, MIB, block, case, raised
from torch.cuda import _memory_viz
from torch.cuda.memory import _record_memory_history as record
from torch.cuda.memory import _snapshot

OF_BLOCKS = ("alloc", "free_requested", "free_completed")


def allocate_in_a_function(size=311):
    return torch.empty(size, dtype=torch.uint8, device="cuda")


def trace(actions=OF_BLOCKS):
    return [entry for entry in _snapshot()["device_traces"][0] if entry["action"] in actions]


def live_blocks(snapshot):
    return [b for s in snapshot["segments"] for b in s["blocks"] if b["state"] == "active_allocated"]


def names(frames):
    return [frame["name"] for frame in frames if frame["name"] in ("allocate_in_a_function", "free_in_a_function", "empty_in_a_function")]


@case()
def the_keys_of_a_snapshot():
    keep = block(1000)
    with torch.no_grad():
        record(context="all")
        more = block(3 * MIB)
        del more
    snapshot = _snapshot()
    segment = snapshot["segments"][0]
    entry = next(entry for entry in snapshot["device_traces"][0] if entry["action"] == "alloc")
    frame = entry["frames"][0]
    return (sorted(snapshot), sorted(segment), sorted(segment["blocks"][0]), sorted(entry), sorted(frame),
            sorted(snapshot["allocator_settings"]), keep.numel())


@case()
def blocks_and_their_sizes():
    sizes = (1, 511, 512, 1000, MIB, MIB + 1, 3 * MIB + 7, 26 * MIB)
    tensors = [block(size) for size in sizes]
    snapshot = _snapshot()
    found = {b["address"]: b for b in live_blocks(snapshot)}
    for segment in snapshot["segments"]:
        assert segment["total_size"] == sum(b["size"] for b in segment["blocks"])
        assert segment["active_size"] == sum(b["size"] for b in segment["blocks"] if b["state"] == "active_allocated")
        assert segment["allocated_size"] == segment["active_size"]
        assert segment["blocks"][0]["address"] == segment["address"]
        assert segment["device"] == 0 and segment["stream"] == 0
    kinds = {found[t.data_ptr()]["address"]: s["segment_type"] for t in tensors for s in snapshot["segments"]
             if s["address"] <= t.data_ptr() < s["address"] + s["total_size"]}
    return [(found[t.data_ptr()]["size"], found[t.data_ptr()]["requested_size"], kinds[t.data_ptr()]) for t in tensors]


@case(device="completion=lazy")
def a_block_that_waits_for_a_stream():
    torch.cuda.init()
    side = torch.cuda.Stream()
    tensor = block(3 * MIB)
    with torch.cuda.stream(side):
        tensor.zero_()
    tensor.record_stream(side)
    address = tensor.data_ptr()
    del tensor
    states = {b["address"]: b["state"] for s in _snapshot()["segments"] for b in s["blocks"]}
    return states[address], torch.cuda.memory_stats()["active_bytes.all.current"], torch.cuda.memory_allocated()


@case()
def entries_of_a_block():
    record(context="all", stacks="python")
    tensor = allocate_in_a_function()
    address = tensor.data_ptr()

    def free_in_a_function():
        nonlocal tensor
        del tensor

    free_in_a_function()
    entries = trace()
    return [(e["action"], e["size"], e["addr"] == address, e["stream"], names(e["frames"]), e["compile_context"], e["user_metadata"])
            for e in entries]


@case()
def segments_in_the_history():
    record(context="all", stacks="python")
    tensor = allocate_in_a_function()
    del tensor

    def empty_in_a_function():
        torch.cuda.empty_cache()

    empty_in_a_function()
    kinds = [entry["action"].split("_")[0] + ("+" if entry["action"].split("_")[-1] in ("alloc", "map") else "-")
             for entry in _snapshot()["device_traces"][0] if entry["action"].startswith("segment")]
    last = _snapshot()["device_traces"][0]
    last = [entry for entry in last if entry["action"] != "snapshot"][-1]
    return kinds[0], kinds[-1], last["action"].startswith("segment_"), names(last["frames"])


@case()
def the_order_of_entries():
    record(context=None)
    tensor = allocate_in_a_function(30 * MIB)
    del tensor
    return [("segment" if e["action"].startswith("segment") else e["action"]) for e in _snapshot()["device_traces"][0]][-3:]


@case()
def contexts_by_what_was_asked():
    seen = {}
    for context in (None, "state", "alloc", "all"):
        record(context=context, stacks="python")
        tensor = allocate_in_a_function()
        snapshot = _snapshot()
        of_block = next(b for b in live_blocks(snapshot) if b["address"] == tensor.data_ptr())
        made = [e for e in snapshot["device_traces"][0] if e["action"] == "alloc"][-1]
        address = tensor.data_ptr()
        del tensor
        freed = [e for e in trace() if e["action"] == "free_requested" and e["addr"] == address][-1]
        seen[str(context)] = [bool(of_block.get("frames")), bool(made.get("frames")), bool(freed.get("frames"))]
        record(None)
    return seen


@case()
def frames_of_cpp():
    record("all", stacks="all")
    keep = allocate_in_a_function()
    made = trace(("alloc",))[-1]["frames"]
    return any("empty" in f["name"] for f in made), any(f["name"] == "allocate_in_a_function" for f in made), keep.numel()


@case()
def skipped_actions():
    seen = []
    for skip in ([], ["alloc"], ["free_requested", "free_completed"], ["segment_alloc", "segment_map", "segment_free", "segment_unmap"]):
        record(context=None, skip_actions=skip, clear_history=True)
        keep = block(40 * MIB)
        del keep
        torch.cuda.empty_cache()
        seen.append(sorted({("segment" if e["action"].startswith("segment") else e["action"])
                            for e in _snapshot()["device_traces"][0]} - {"snapshot"}))
        record(None)
    return seen, raised(lambda: record(context=None, skip_actions=["no_such_action"]))


@case()
def the_ring():
    record(max_entries=10, context=None)
    for size in range(1, 50):
        block(size * 512)
    entries = _snapshot()["device_traces"][0]
    return len(entries), [entry["size"] for entry in entries if entry["action"] == "alloc"]


@case()
def on_off_and_cleared():
    torch.cuda.init()
    seen = [torch._C._cuda_isHistoryEnabled()]
    record(context=None)
    keep = [block(1000)]
    seen.append(torch._C._cuda_isHistoryEnabled())
    record(context=None, clear_history=False)
    keep.append(block(1000))
    seen.append(len(trace(("alloc",))))
    record(context=None, clear_history=True)
    keep.append(block(1000))
    seen.append(len(trace(("alloc",))))
    record(None)
    seen.append((torch._C._cuda_isHistoryEnabled(), len(trace(("alloc",)))))
    return seen


@case()
def bad_arguments():
    return [raised(lambda: record(enabled="nonsense")), raised(lambda: record(context="nonsense")),
            raised(lambda: record(stacks="nonsense")), raised(lambda: record(max_entries=-1))]


@case()
def metadata_of_the_user():
    record(context=None)
    torch.cuda.memory._set_memory_metadata("first")
    keep = [block(1000)]
    torch.cuda.memory._set_memory_metadata("second")
    keep.append(block(1000))
    torch.cuda.memory._set_memory_metadata("")
    keep.append(block(1000))
    del keep[:]
    return [(e["action"], e["user_metadata"]) for e in trace()], torch.cuda.memory._get_memory_metadata()


@case()
def annotations():
    record(context=None, global_record_annotations=True)
    with torch.profiler.record_function("outer"):
        with torch.profiler.record_function("inner"):
            keep = block(1000)
    return [(note["name"], note["stage"], note["device"], sorted(note)) for note in _snapshot()["external_annotations"]], keep.numel()


@case()
def a_snapshot_is_an_entry_too():
    record(context=None)
    keep = block(1000)
    _snapshot()
    return [entry["action"] for entry in _snapshot()["device_traces"][0]].count("snapshot"), keep.numel()


@case()
def without_traces():
    record(context=None)
    keep = block(1000)
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        inside = block(3 * MIB)
    return ([sum(s["allocated_size"] for s in torch.cuda.memory_snapshot(pool.id, include_traces=traces)) for traces in (True, False)],
            sum(s["allocated_size"] for s in torch.cuda.memory_snapshot(include_traces=False)), keep.numel() + inside.numel())


@case()
def the_viewer_reads_it():
    record(context="all", stacks="python")
    keep = [allocate_in_a_function(3 * MIB) for _ in range(3)]
    del keep[1]
    with tempfile.NamedTemporaryFile() as file:
        torch.cuda.memory._dump_snapshot(file.name)
        snapshot = pickle.load(file)

    def named(text):
        return "allocate_in_a_function" in str(text)

    def lines(text):  # in place of the drawing, for which a script is fetched from the network
        return text

    return [named(_memory_viz.segsum(snapshot)) or "MiB" in _memory_viz.segsum(snapshot), "alloc" in _memory_viz.trace(snapshot),
            named(_memory_viz.memory(snapshot, format_flamegraph=lines)), named(_memory_viz.segments(snapshot, format_flamegraph=lines)),
            named(_memory_viz.compare([], snapshot["segments"], format_flamegraph=lines)),
            "<html" in _memory_viz.trace_plot(snapshot).lower() or "<!doctype" in _memory_viz.trace_plot(snapshot).lower(),
            "<html" in _memory_viz.segment_plot(snapshot).lower() or "<!doctype" in _memory_viz.segment_plot(snapshot).lower()]


@case()
def the_viewer_s_plot_of_a_profile():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True, record_shapes=True,
                                with_stack=True) as profile:
        keep = [block(3 * MIB) for _ in range(2)]
        keep.pop()
    return "<" in _memory_viz.profile_plot(profile), len(keep)


@case()
def the_profiler_sees_memory():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        tensor = block(3 * MIB)
        del tensor
    return sorted({(event.name, event.device_memory_usage) for event in profile.events() if event.device_memory_usage})


@case(device="size=2GiB")
def the_profiler_sees_a_failure():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        raised(block, 3 * GIB)
    return "[OutOfMemory]" in {event.name for event in profile.events()}


@case()
def a_plot_of_cycles():
    """torch.cuda.memory's observers of reference cycles, which live on the history."""
    from torch.utils.viz._cycles import observe_tensor_cycles

    seen = []
    observe_tensor_cycles(lambda html: seen.append("torch.Tensor" in html or "html" in html.lower()))
    torch.cuda.init()

    class Holder:
        pass

    holder = Holder()
    holder.itself, holder.tensor = holder, block(1000)
    del holder
    import gc

    gc.collect()
    return len(seen) > 0
