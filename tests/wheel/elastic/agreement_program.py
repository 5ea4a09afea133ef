# SPDX-License-Identifier: Apache-2.0
"""Run by torchrun on the CPU: a hundred seeded rounds of agreement.   agreement_program.py FOLDER"""

import pathlib
import random
import sys

import gapless
import torch.distributed as dist


def main():
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    agreement = gapless.Agreement(pathlib.Path(sys.argv[1]) / "agreed.json", timeout=60)
    for number in range(100):
        offers = [random.Random(1000 * number + one).randint(1, 10**12) for one in range(ranks)]
        agreed = agreement.least(offers[rank])
        assert agreed == min(offers), (number, offers, agreed)
    (pathlib.Path(sys.argv[1]) / f"rank{rank}").write_text("agreed")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
