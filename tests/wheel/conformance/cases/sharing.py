# SPDX-License-Identifier: Apache-2.0
"""CUDA tensors between processes. The device keeps data here, so that what one process writes the other reads. Workers are forked
before CUDA is started, which costs no import; one case spawns."""

import gc
import traceback

import torch
import torch.multiprocessing as multiprocessing
from harness import MIB, block, case, raised


class Workers:
    """Processes that answer on a pipe; `function` gets it."""

    def __init__(self, function, count=1, method="fork"):
        context = multiprocessing.get_context(method)
        self.ends, self.processes = [], []
        for _ in range(count):
            mine, theirs = context.Pipe()
            process = context.Process(target=guarded, args=(function, theirs), daemon=True)
            process.start()
            self.ends.append(mine)
            self.processes.append(process)

    def ask(self, what, worker=0):
        self.ends[worker].send(what)
        return self.answer(worker)

    def answer(self, worker=0):
        assert self.ends[worker].poll(45), "the worker does not answer"
        found = self.ends[worker].recv()
        if isinstance(found, str) and found.startswith("Traceback"):
            raise RuntimeError(found)
        return found

    def end(self):
        for end in self.ends:
            end.send(None)
        for process in self.processes:
            process.join(30)
        return [process.exitcode for process in self.processes]


def guarded(function, pipe):
    try:
        function(pipe)
    except BaseException:  # noqa: BLE001: the other side raises it
        pipe.send(traceback.format_exc())


def read_and_change(pipe):
    """Gets tensors; says what is in them; adds 1 to the first element through a copy from the host."""
    while (tensor := pipe.recv()) is not None:
        seen = tensor.cpu()
        changed = seen.clone()
        changed.view(-1)[0] += 1
        tensor.copy_(changed)
        torch.cuda.synchronize()
        pipe.send([tensor.device.type, list(tensor.shape), int(seen.sum())])
        del tensor


def make_and_send(pipe):
    """Sends a tensor of its own each time it is asked for a size."""
    kept = []
    while (size := pipe.recv()) is not None:
        kept.append(torch.arange(size, dtype=torch.int32).cuda())
        pipe.send(kept[-1])
        assert pipe.recv() == "seen"
        pipe.send(int(kept[-1][0].cpu()))


@case(device="data=1")
def a_worker_reads_and_writes():
    workers = Workers(read_and_change)
    seen = []
    for size in (1, 1000, 300_000, 3_000_000):
        tensor = torch.arange(size, dtype=torch.int32).cuda()
        seen.append((workers.ask(tensor), int(tensor[0].cpu())))
    return seen, workers.end()


@case(device="data=1")
def views_and_neighbours():
    """Small tensors share a granule; a view has an offset; the same storage is sent twice."""
    workers = Workers(read_and_change)
    tensors = [torch.full((100,), index, dtype=torch.int32).cuda() for index in range(4)]
    whole = torch.arange(1000, dtype=torch.int32).cuda()
    seen = [workers.ask(tensor) for tensor in tensors] + [workers.ask(whole[100:200]), workers.ask(whole.view(10, 100)[3])]
    return seen, [int(tensor[0].cpu()) for tensor in tensors], int(whole[100].cpu()), workers.end()


@case(device="data=1")
def a_worker_sends():
    workers = Workers(make_and_send)
    seen = []
    for size in (10, 2_000_000):
        tensor = workers.ask(size)
        total = int(tensor.sum().cpu()) if tensor.numel() < 2 else int(tensor.cpu().sum())
        tensor[:1].copy_(torch.tensor([7], dtype=torch.int32))
        torch.cuda.synchronize()
        del tensor
        gc.collect()
        seen.append((total, workers.ask("seen")))
    return seen, torch.cuda.memory_allocated(), workers.end()


@case(device="data=1")
def sent_memory_comes_back():
    workers = Workers(read_and_change)
    for _ in range(5):
        tensor = torch.arange(1_000_000, dtype=torch.int32).cuda()
        workers.ask(tensor)
        del tensor
    # The receiver has dropped them by the time it answers the next question.
    workers.ask(torch.zeros(1, dtype=torch.int32).cuda())
    ended = workers.end()
    gc.collect()
    torch.cuda.ipc_collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated(), torch.cuda.memory_reserved(), ended


@case(device="data=1")
def a_spawned_worker():
    workers = Workers(read_and_change, method="spawn")
    tensor = torch.arange(5000, dtype=torch.int32).cuda()
    return workers.ask(tensor), int(tensor[0].cpu()), workers.end()


@case(device="data=1")
def a_module_s_parameters_are_shared():
    workers = Workers(lambda pipe: pipe.send(sum(float(p.detach().cpu().sum()) for p in pipe.recv().parameters())))
    layer = torch.nn.Linear(4, 4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1)
    return workers.ask(layer.cuda())


@case()
def events():
    def opened(pipe):
        pipe.send(torch.cuda.Event.from_ipc_handle(torch.device("cuda", 0), pipe.recv()).query())

    workers = Workers(opened)
    torch.cuda.init()
    event = torch.cuda.Event(enable_timing=False, interprocess=True)
    event.record()
    handle = event.ipc_handle()
    own = raised(torch.cuda.Event.from_ipc_handle, torch.device("cuda", 0), handle)
    return len(handle), workers.ask(handle), own


@case()
def what_cannot_be_shared():
    torch.cuda.init()
    tensor = block(1000)
    storage = tensor.untyped_storage()
    seen = [raised(torch.UntypedStorage._new_shared_cuda, 0, b"nonsense", 10, 0, b"x", 0, b"", False).split(":")[0] != "nothing"]
    handle = storage._share_cuda_()
    seen.append(len(handle))
    return seen


@case(columns=("gapless",))
def shared_memory_is_reported_as_pinned():
    import gapless

    torch.cuda.init()
    before = gapless.stats()["pinned_bytes"]
    tensor = block(9 * MIB)
    tensor.untyped_storage()._share_cuda_()
    return before == 0 and 9 * MIB <= gapless.stats()["pinned_bytes"] <= 12 * MIB


def send_one(pipe):
    pipe.recv()
    tensor = torch.zeros(1_000_000, dtype=torch.int32, device="cuda")
    pipe.send(tensor)
    pipe.recv()


@case(settings="expandable_segments:True", device="size=80GiB,va=320GiB", columns=("native", "gapless"))
def issue_186213_an_import_takes_as_many_addresses_as_it_maps():
    """Each import of an expandable segment reserves 9/8 of the device, so that a few hundred exhaust a process; here the process has
    few to begin with."""
    workers = Workers(send_one, count=4)
    received = []
    outcome = raised(lambda: received.extend(workers.ask("now", worker) for worker in range(4)))
    return outcome == "nothing" and len(received) == 4
