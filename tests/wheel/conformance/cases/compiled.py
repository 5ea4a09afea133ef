# SPDX-License-Identifier: Apache-2.0
"""torch.compile over CUDA graphs: PyTorch's trees of graphs, which share a pool, save its state and bring it back, and free what a
path leaves. The backend "cudagraphs" drives them without generating code; wheel.loop.compiled is the same with mode="reduce-overhead"."""

import gc

import torch
from harness import MIB, block, case


def trees():
    from torch._inductor import config, cudagraph_trees

    config.triton.slow_path_cudagraph_asserts = True  # each run checks the live blocks of the pool
    config.triton.fast_path_cudagraph_asserts = True
    return cudagraph_trees


def shape_of(node):
    """Of a node's children: a list for each function that was called after it, in the order of the functions."""
    return [sorted((shape_of(child) for child in children), key=str) for _, children in sorted(node.children.items(), key=lambda each: each[0].id)]


def tree():
    manager = trees().get_manager(0, create_if_none_exists=False)
    return sorted(([shape_of(root) for root in roots] for roots in manager.roots.values()), key=str)


def pools():
    """Allocated bytes of the pools that are not the default one."""
    return sorted(segment["allocated_size"] for segment in torch.cuda.memory_snapshot() if tuple(segment["segment_pool_id"]) != (0, 0))


@case()
def training_steps():
    trees()
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64)).cuda()
    compiled = torch.compile(model, backend="cudagraphs")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    for _ in range(6):
        torch.compiler.cudagraph_mark_step_begin()
        loss = compiled(block(8 * 64 * 4).view(torch.float32).view(8, 64)).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        del loss
        seen.append(torch.cuda.memory_allocated())
    return seen, tree(), pools()


@case()
def paths_of_a_tree():
    """Two functions one after the other in every order, outputs kept over some of them: a graph is replayed where its path was taken
    before, and recorded from the pool's saved state where it was not."""
    trees()
    first = torch.compile(lambda x: (x + 1) * 2, backend="cudagraphs")
    second = torch.compile(lambda x: (x * 3, x - 1), backend="cudagraphs")
    x = block(4 * MIB).view(torch.float32)
    seen = []
    for round_ in range(3):
        for path in ((first, second), (second, first), (first, first, second), (second, second)):
            torch.compiler.cudagraph_mark_step_begin()
            value, kept = x, []
            for function in path:
                value = function(value)
                if isinstance(value, tuple):
                    kept.append(value[1])
                    value = value[0]
            live = torch.cuda.memory_allocated()
            del value, kept
            gc.collect()
            seen.append((round_, live, torch.cuda.memory_allocated()))
    return seen, tree(), pools()


@case()
def an_output_that_lives_on():
    """An output outlives its step; the next recording leaves its place alone."""
    trees()
    function = torch.compile(lambda x: x + 1, backend="cudagraphs")
    x = block(2 * MIB).view(torch.float32)
    for _ in range(3):
        torch.compiler.cudagraph_mark_step_begin()
        output = function(x)
    y = block(3 * MIB).view(torch.float32)
    other = function(y)
    apart = output.data_ptr() + output.nbytes <= other.data_ptr() or other.data_ptr() + other.nbytes <= output.data_ptr()
    return apart, tree(), torch.cuda.memory_allocated()


@case()
def reset_gives_everything_back():
    trees()
    function = torch.compile(lambda x: x + 1, backend="cudagraphs")
    x = block(MIB).view(torch.float32)
    for _ in range(3):
        torch.compiler.cudagraph_mark_step_begin()
        output = function(x)
    del output, x, function
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated(), pools()
