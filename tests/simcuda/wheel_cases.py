# SPDX-License-Identifier: Apache-2.0
"""What the PyTorch wheel must be able to do on the simulated device, one function for each thing.

    gapless-sim -- python wheel_cases.py [--mode native|expandable_segments|cudaMallocAsync] [--no-violations] [CASE...]

--mode fails when PyTorch's allocator is not in the mode named.

Every case gets an empty cache and must leave nothing allocated. Kernels do nothing and device memory reads as zeros, so
values are not looked at; shapes, statistics and errors are.
"""

import argparse
import ctypes
import gc
import os
import sys
import traceback

import torch
from torch import nn
from torch.nn import functional as F

GIB = 1 << 30
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def backend():
    return torch.cuda.get_allocator_backend()


def train(model, batches, optimizer=None, loss_of=lambda out: out.float().square().mean()):
    optimizer = optimizer or torch.optim.AdamW(model.parameters())
    for batch in batches:
        loss = loss_of(model(batch))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        assert loss.item() == 0.0
    return optimizer


@case
def tensors():
    assert torch.cuda.is_available() and torch.cuda.device_count() >= 1
    x = torch.ones(1024, 1024, device="cuda")
    assert x.device.type == "cuda" and torch.cuda.memory_allocated() == 4 << 20
    y = torch.randn(1 << 20).to("cuda", non_blocking=True)
    z = (x.view(-1) + y).cpu()
    assert z.shape == (1 << 20,)
    assert torch.cuda.memory_stats()["allocated_bytes.all.current"] == 8 << 20
    free, total = torch.cuda.mem_get_info()
    assert 0 < free < total


@case
def linear_adamw():
    model = nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.LayerNorm(2048), nn.Linear(2048, 512)).cuda()
    for options in ({"foreach": True}, {"fused": True}, {"foreach": False}):
        train(model, [torch.randn(n, 512, device="cuda") for n in (8, 32, 16)], torch.optim.AdamW(model.parameters(), **options))


@case
def mixed_precision():
    model = nn.Linear(256, 256).cuda()
    scaler = torch.amp.GradScaler("cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cuda", dtype):
            loss = model(torch.randn(64, 256, device="cuda")).float().mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, stride=2, padding=1, groups=4), nn.GroupNorm(8, 64), nn.SiLU(),
            nn.ConvTranspose2d(64, 32, 2, stride=2), nn.Conv2d(32, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip

    def forward(self, x):
        return self.body(x)


@case
def convolutions():
    train(ConvNet().cuda(), [torch.randn(n, 3, 64, 64, device="cuda") for n in (4, 8)])
    model = ConvNet().cuda().to(memory_format=torch.channels_last)
    with torch.autocast("cuda", torch.bfloat16):
        train(model, [torch.randn(4, 3, 64, 64, device="cuda").to(memory_format=torch.channels_last)])
    train(nn.Conv1d(8, 8, 5).cuda(), [torch.randn(4, 8, 100, device="cuda")])
    train(nn.Conv3d(2, 4, 3).cuda(), [torch.randn(2, 2, 8, 8, 8, device="cuda")])
    torch.backends.cudnn.benchmark = True
    train(ConvNet().cuda(), [torch.randn(2, 3, 32, 32, device="cuda")])
    torch.backends.cudnn.benchmark = False
    with torch.backends.cudnn.flags(enabled=False):
        train(ConvNet().cuda(), [torch.randn(4, 3, 64, 64, device="cuda")])


@case
def recurrent():
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        model = kind(32, 64, num_layers=2, batch_first=True, bidirectional=True).cuda()
        train(model, [torch.randn(4, n, 32, device="cuda") for n in (10, 25)], loss_of=lambda out: out[0].square().mean())


@case
def attention():
    from torch.nn.attention import SDPBackend, sdpa_kernel

    q, k, v = (torch.randn(2, 8, 128, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    for chosen in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH):
        with sdpa_kernel(chosen):
            F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    mask = torch.ones(2, 1, 128, 128, dtype=torch.bool, device="cuda")
    F.scaled_dot_product_attention(q, k, v, attn_mask=mask).sum().backward()


@case
def streams():
    side = torch.cuda.Stream()
    x = torch.randn(1 << 20, device="cuda")
    for _ in range(4):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            y = x * 2
        x.record_stream(side)
        del x
        torch.cuda.current_stream().wait_stream(side)
        y.record_stream(torch.cuda.current_stream())
        x = y + 1
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    x += 1
    end.record()
    end.synchronize()
    assert end.query() and start.elapsed_time(end) >= 0
    side.synchronize()
    torch.cuda.synchronize()


@case
def pinned_memory():
    x = torch.randn(1 << 20).pin_memory()
    assert x.is_pinned()
    y = x.to("cuda", non_blocking=True)
    z = torch.empty(1 << 20, pin_memory=True)
    z.copy_(y, non_blocking=True)
    torch.cuda.synchronize()


class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        return torch.full((3, 32, 32), float(index))


@case
def data_loader():
    loader = torch.utils.data.DataLoader(Squares(), batch_size=16, num_workers=2, pin_memory=True)
    for epoch in range(2):
        total = 0
        for batch in loader:
            assert batch.is_pinned()
            total += batch.to("cuda", non_blocking=True).shape[0]
        assert total == 64


@case
def graphs():
    if backend() == "cudaMallocAsync":
        return "not with cudaMallocAsync here: captured allocations would become graph nodes"
    x = torch.zeros(1 << 16, device="cuda")
    warm = torch.cuda.Stream()
    warm.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm):
        (x * 2 + 1).sum()
    torch.cuda.current_stream().wait_stream(warm)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = (x * 2 + 1).sum()
    for _ in range(3):
        x.copy_(torch.randn(1 << 16))
        graph.replay()
    torch.cuda.synchronize()
    assert y.item() == 0.0
    model = nn.Linear(64, 64).cuda()
    fast = torch.cuda.make_graphed_callables(model, (torch.randn(8, 64, device="cuda", requires_grad=True),))
    train(fast, [torch.randn(8, 64, device="cuda", requires_grad=True) for _ in range(3)])


@case
def memory_pools():
    if backend() == "cudaMallocAsync":
        return "MemPool is not for cudaMallocAsync"
    pool = torch.cuda.MemPool()
    with torch.cuda.use_mem_pool(pool):
        x = torch.empty(1 << 20, device="cuda")
    assert len(pool.snapshot()) >= 1
    del x


@case
def out_of_memory():
    total = torch.cuda.mem_get_info()[1]
    held = torch.empty(total // 2, dtype=torch.uint8, device="cuda")
    try:
        torch.empty(total * 3 // 4, dtype=torch.uint8, device="cuda")
        raise AssertionError("no OutOfMemoryError")
    except torch.OutOfMemoryError as error:
        # The two backends word it differently.
        wording = "would exceed allowed memory" if backend() == "cudaMallocAsync" else "CUDA out of memory. Tried to allocate"
        assert wording in str(error), error
    del held
    torch.cuda.empty_cache()
    assert torch.empty(total * 3 // 4, dtype=torch.uint8, device="cuda").numel() == total * 3 // 4


@case
def snapshots():
    if backend() == "cudaMallocAsync":
        return "no snapshots with cudaMallocAsync"
    torch.cuda.memory._record_memory_history(max_entries=1000)
    x = torch.empty(3 << 20, device="cuda")
    snapshot = torch.cuda.memory._snapshot()
    assert any(event["action"] == "alloc" for event in snapshot["device_traces"][0])
    torch.cuda.memory._record_memory_history(enabled=None)
    assert torch.cuda.memory_summary()
    del x


@case
def checkpoint_files():
    import tempfile

    model = nn.Linear(64, 64).cuda()
    optimizer = train(model, [torch.randn(4, 64, device="cuda")])
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "state.pt")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
        state = torch.load(path, map_location="cuda")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])


def language_model(kind):
    from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    with torch.device("cuda"):
        if kind == "gpt2":
            return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=128, n_head=4, vocab_size=1000))
        if kind == "llama":
            config = LlamaConfig(num_hidden_layers=2, hidden_size=128, intermediate_size=256, num_attention_heads=8,
                                 num_key_value_heads=4, vocab_size=1000)  # fmt: skip
            return LlamaForCausalLM(config).to(torch.bfloat16)
        config = BertConfig(num_hidden_layers=2, hidden_size=128, intermediate_size=256, num_attention_heads=4, vocab_size=1000)
        return BertForSequenceClassification(config)


@case
def transformers_models():
    for kind in ("gpt2", "llama", "bert"):
        model = language_model(kind)
        optimizer = torch.optim.AdamW(model.parameters())
        for length in (16, 40, 24):
            ids = torch.randint(0, 1000, (4, length)).to("cuda")
            mask = torch.ones_like(ids)
            labels = torch.zeros(4, dtype=torch.long, device="cuda") if kind == "bert" else ids
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    model = language_model("llama")
    model.gradient_checkpointing_enable()
    model.train()
    ids = torch.randint(0, 1000, (2, 64)).to("cuda")
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()


@case
def generation_by_hand():
    from transformers import DynamicCache

    model = language_model("llama").eval()
    ids = torch.randint(0, 1000, (2, 8)).to("cuda")
    with torch.no_grad():
        cache = DynamicCache()
        for _ in range(12):
            out = model(input_ids=ids, past_key_values=cache, use_cache=True)
            cache, ids = out.past_key_values, out.logits[:, -1:].argmax(-1)
    assert cache.get_seq_length() == 8 + 11


def check_mode(mode):
    """The allocator must have done its work by the driver calls of the mode: an option that was ignored would pass unseen."""
    used = ctypes.CDLL("libcuda.so.1").gapless_sim_calls
    used.restype = ctypes.c_uint64
    witness = {"native": b"cudaMalloc", "expandable_segments": b"cuMemCreate", "cudaMallocAsync": b"cudaMallocAsync"}
    for each, function in witness.items():
        assert (used(function) > 0) == (each == mode), f"{mode}: {used(function)} calls of {function.decode()}"


def check_violations():
    library = ctypes.CDLL("libcuda.so.1")
    library.gapless_sim_violations.restype = ctypes.c_uint64
    assert library.gapless_sim_violations() == 0, "the simulated device reported broken rules"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode")
    parser.add_argument("--no-violations", action="store_true")
    parser.add_argument("names", nargs="*", metavar="CASE", choices=[*CASES, []])
    arguments = parser.parse_args()
    names = arguments.names
    torch.manual_seed(0)
    failed = []
    for name in names or CASES:
        try:
            note = CASES[name]() or "ok"
        except Exception:
            traceback.print_exc()
            failed.append(name)
            note = "FAILED"
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        print(f"{name}: {note}", flush=True)
    if failed:
        sys.exit(f"{len(failed)} failed: {' '.join(failed)}")
    if arguments.mode:
        check_mode(arguments.mode)
    if arguments.no_violations:
        check_violations()
    print(f"all of {len(names or CASES)} cases with {backend()}")


if __name__ == "__main__":
    main()
