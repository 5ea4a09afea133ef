# SPDX-License-Identifier: Apache-2.0
"""Several ranks on the CPU: agreement before steps, restarts after an OOM inside of one. No device is needed."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest
import torch

HERE = pathlib.Path(__file__).parent
FULL = bool(os.environ.get("GAPLESS_TEST_FULL"))


def torchrun(ranks, program, *arguments, restarts=0):
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={ranks}", f"--max-restarts={restarts}", "--standalone",
               "--monitor-interval=0.2", HERE / program, *arguments]
    # torchrun's own store lives on over a restart with gloo's keys in it (PyTorch 2.11): a rank that asks before its peer has written
    # the new address gets the old one, and is refused.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    # A session of its own: after a timeout the ranks must go too, not only what started them.
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          start_new_session=True, env=environment) as process:
        try:
            _, said = process.communicate(timeout=1500 if FULL else 280)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, said


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_hundred_rounds(ranks, tmp_path):
    code, said = torchrun(ranks, "agreement_program.py", tmp_path)
    assert code == 0, said[-3000:]
    assert len(list(tmp_path.glob("rank*"))) == ranks


@pytest.mark.parametrize(("ranks", "failures"), [(2, 1), *([(2, 10), (4, 10)] if FULL else [])])
def test_restarts(ranks, failures, tmp_path):
    code, said = torchrun(ranks, "ranks_program.py", tmp_path, failures, restarts=failures + 1)
    assert code == 0, said[-3000:]
    found = [path.read_text().split() for path in sorted(tmp_path.glob("rank*"))]
    assert len(found) == ranks
    assert {restart for restart, _, _ in found} == {str(failures)}
    assert len({digest for _, _, digest in found}) == 1, "the same weights on all ranks"
    assert {size for _, size, _ in found} == {"4" if failures == 1 else "1"}, "halved at each failure, and kept over the restart"
    # The weights of one process that trains on everything.
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(4):
        batches = [torch.rand(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(100 * step + rank)) for rank in range(ranks)]
        batch = torch.cat(batches)
        ((model(batch[:, :4]) - batch[:, 4:]) ** 2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    torch.testing.assert_close(torch.load(tmp_path / "weights0.pt"), weights, rtol=1e-10, atol=1e-12)
