# SPDX-License-Identifier: Apache-2.0
"""torch.compile(mode="reduce-overhead"): generated code in CUDA graphs that share a pool, with two batch sizes and so two paths of
graphs; validation without gradients takes a third."""

import gc

import torch
from torch import nn

WIDTH, BLOCKS, STEPS = 2048, 6, 12


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


def train(model, optimizer, batch):
    torch.compiler.cudagraph_mark_step_begin()
    loss = model(torch.zeros(batch, WIDTH, device="cuda")).float().pow(2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def validate(model, batch):
    torch.compiler.cudagraph_mark_step_begin()
    return float(model(torch.zeros(batch, WIDTH, device="cuda")).mean())


def held_by_graphs():
    """Bytes of the graphs' pools that hold no live block: replays write there, so no other memory can take their place."""
    pools = [segment for segment in torch.cuda.memory_snapshot() if segment["segment_pool_id"] != (0, 0)]
    return sum(segment["total_size"] - segment["allocated_size"] for segment in pools)


def main():
    with torch.device("cuda"):
        model = nn.Sequential(*(Block() for _ in range(BLOCKS)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, foreach=False)
    compiled = torch.compile(model, mode="reduce-overhead", dynamic=False)
    for step in range(STEPS):
        train(compiled, optimizer, 256 if step % 3 else 512)
        if step % 4 == 3:
            print("step", step, "validation", validate(compiled, 256))
    from torch._inductor import cudagraph_trees

    manager = cudagraph_trees.get_manager(0, create_if_none_exists=False)
    graphs = manager.new_graph_id().id
    print("graphs", graphs)
    assert graphs >= 5, "two training shapes and a validation make five graphs"
    held = held_by_graphs()
    del compiled, manager
    torch._dynamo.reset()
    gc.collect()
    return held


if __name__ == "__main__":
    HELD_BY_GRAPHS = main()
