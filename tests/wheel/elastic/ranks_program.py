# SPDX-License-Identifier: Apache-2.0
"""Run by torchrun on the CPU: a rank that runs out of memory ends the run, and the restart trains to the end on all ranks.

    ranks_program.py FOLDER FAILURES
"""

import hashlib
import os
import pathlib
import sys

import gapless
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

STEPS, BATCH = 4, 8


def main():
    folder, failures = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    dist.init_process_group("gloo")
    rank, restart = dist.get_rank(), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    torch.manual_seed(0)
    bare = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).double()
    model = DistributedDataParallel(bare)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    done = 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint)
        bare.load_state_dict(state["model"])
        done = state["done"]
    sizes = []

    def step_fn(batch):
        sizes.append(len(batch))
        # Each start fails on one rank, at a step of its own, until there have been enough.
        if restart < failures and rank == restart % dist.get_world_size() and done >= min(restart, STEPS - 1):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return ((model(batch[:, :4]) - batch[:, 4:]) ** 2).mean()

    agreement = gapless.Agreement(folder / "agreed.json", timeout=60)
    step = gapless.elastic(step_fn, optimizer=optimizer, model=model, agreement=agreement)
    while done < STEPS:
        generator = torch.Generator().manual_seed(100 * done + rank)
        step(torch.rand(BATCH, 5, dtype=torch.float64, generator=generator))
        done += 1
        if rank == 0:
            torch.save({"model": bare.state_dict(), "done": done}, checkpoint)
        dist.barrier()
    weights = torch.cat([parameter.detach().flatten() for parameter in bare.parameters()])
    digest = hashlib.sha256(weights.numpy().tobytes()).hexdigest()
    (folder / f"rank{rank}").write_text(f"{restart} {max(sizes)} {digest}")
    torch.save(weights, folder / f"weights{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
