# SPDX-License-Identifier: Apache-2.0
"""Run on the simulated device with PyTorch's own allocator: in the room of test_spike.py, where does the plain loop end?"""

import torch
from spike import plain_loop, room

limit = room()
torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
print(f"allocator {torch.cuda.get_allocator_backend()}, steps {plain_loop()}")
