// SPDX-License-Identifier: Apache-2.0
// Questions 2, 3 and 4: aliases, unmapping beside work, ceilings.

#include "gpu/facts.hpp"
#include "gpu/kernels.hpp"

namespace gapless::gpu {
namespace {

// One handle at two addresses, and a counter of wrong words on the device.
struct Aliases {
  explicit Aliases(const Probe& probe_, std::size_t bytes_) : probe(probe_), bytes(bytes_) {
    first = probe.reserve(2 * bytes);
    second = first + bytes;
    handle = probe.create(bytes);
    probe.map(first, bytes, handle);
    probe.map(second, bytes, handle);
    probe.must(probe.cuda.cuMemAlloc(&wrong, sizeof(std::uint64_t)), "cuMemAlloc");
  }
  void count_from_zero() const {
    const std::uint64_t zero = 0;
    probe.must(probe.cuda.cuMemcpyHtoD(wrong, &zero, sizeof zero), "cuMemcpyHtoD");
    probe.synchronize();  // from pageable memory it is only staged, and the checks run on streams that do not follow it
  }
  std::uint64_t count() const {
    probe.synchronize();
    std::uint64_t count = 0;
    probe.must(probe.cuda.cuMemcpyDtoH(&count, wrong, sizeof count), "cuMemcpyDtoH");
    return count;
  }
  void report(const char* how, std::size_t times) const {
    fact(std::string("stale words through an alias, ") + how + ", " + std::to_string(times) + " times",
         static_cast<double>(count()), "words");
  }
  // A check that cannot see anything would pass everywhere.
  void try_the_check(const Kernels& kernels) const {
    count_from_zero();
    probe.must(kernels.fill(first, bytes, 1, nullptr), "fill");
    probe.must(kernels.check(second, bytes, 2, wrong, nullptr), "check");
    fact("words that the check calls wrong when all are", static_cast<double>(count()) * 4 / static_cast<double>(bytes),
         "of all");
    count_from_zero();
  }

  const Probe& probe;
  std::size_t bytes;
  CUdeviceptr first = 0, second = 0, wrong = 0;
  CUmemGenericAllocationHandle handle = 0;
};

}  // namespace

void probe_aliases(Probe& probe) {
  const Kernels kernels(probe.cuda);
  probe.must(kernels.status(), "cuModuleLoadData");
  const std::size_t times = probe.many(2'000, 4);
  for (const std::size_t granules : {std::size_t{1}, probe.many(16, 2)}) {
    const Aliases alias(probe, granules * probe.granule);
    const std::string size = ", " + std::to_string(granules) + " granules";
    alias.try_the_check(kernels);
    const CUstream a = probe.stream();
    const CUstream b = probe.stream();
    const CUevent event = probe.event();
    const auto order = [&](CUstream earlier, CUstream later) {
      probe.must(probe.cuda.cuEventRecord(event, earlier), "cuEventRecord");
      probe.must(probe.cuda.cuStreamWaitEvent(later, event, 0), "cuStreamWaitEvent");
    };
    alias.count_from_zero();
    for (std::size_t i = 0; i < times; ++i) {
      const auto value = static_cast<std::uint32_t>(i + 1);
      probe.must(kernels.fill(i % 2 == 0 ? alias.first : alias.second, alias.bytes, value, a), "fill");
      probe.must(kernels.check(i % 2 == 0 ? alias.second : alias.first, alias.bytes, value, alias.wrong, a), "check");
    }
    alias.report(("kernels of one stream" + size).c_str(), times);

    alias.count_from_zero();
    for (std::size_t i = 0; i < times; ++i) {
      const auto value = static_cast<std::uint32_t>(i + 7);
      probe.must(kernels.fill(alias.first, alias.bytes, value, a), "fill");
      order(a, b);
      probe.must(kernels.check(alias.second, alias.bytes, value, alias.wrong, b), "check");
      order(b, a);
    }
    alias.report(("kernels of two streams, ordered by events" + size).c_str(), times);

    alias.count_from_zero();
    for (std::size_t i = 0; i < times; ++i) {
      const auto value = static_cast<std::uint32_t>(i + 11);
      probe.must(probe.cuda.cuMemsetD32Async(alias.first, value, alias.bytes / 4, a), "cuMemsetD32Async");
      probe.must(kernels.check(alias.second, alias.bytes, value, alias.wrong, a), "check");
      probe.must(kernels.fill(alias.second, alias.bytes / 2, value + 1, a), "fill");
      probe.must(probe.cuda.cuMemcpyDtoDAsync(alias.first + alias.bytes / 2, alias.first, alias.bytes / 2, a), "copy");
      probe.must(kernels.check(alias.second, alias.bytes, value + 1, alias.wrong, a), "check");
    }
    alias.report(("fills and copies" + size).c_str(), times);

    alias.count_from_zero();
    for (std::size_t i = 0; i < times; ++i) {
      const auto value = static_cast<std::uint32_t>(i + 13);
      probe.must(kernels.fill(alias.first, alias.bytes, value, a), "fill");
      probe.must(kernels.check(alias.second, alias.bytes, value, alias.wrong, a, true), "check");
    }
    alias.report(("programmatic dependent launch" + size).c_str(), times);

    alias.count_from_zero();
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    probe.must(probe.cuda.cuStreamBeginCapture(a, CU_STREAM_CAPTURE_MODE_RELAXED), "cuStreamBeginCapture");
    for (std::uint32_t i = 0; i < 8; ++i) {
      probe.must(kernels.fill(alias.first, alias.bytes, i + 17, a), "fill");
      probe.must(kernels.check(alias.second, alias.bytes, i + 17, alias.wrong, a), "check");
    }
    probe.must(probe.cuda.cuStreamEndCapture(a, &graph), "cuStreamEndCapture");
    probe.must(probe.cuda.cuGraphInstantiateWithFlags(&exec, graph, 0), "cuGraphInstantiate");
    for (std::size_t i = 0; i < times / 4; ++i) probe.must(probe.cuda.cuGraphLaunch(exec, a), "cuGraphLaunch");
    alias.report(("a captured graph" + size).c_str(), times / 4);
  }
}

// Unmapping and mapping neighbours of a range that a graph uses, in one reservation.
void probe_unmap(Probe& probe) {
  const Kernels kernels(probe.cuda);
  probe.must(kernels.status(), "cuModuleLoadData");
  const std::size_t granules = 64;
  const CUdeviceptr base = probe.reserve(granules * probe.granule);
  const std::size_t used = granules / 2 * probe.granule;
  probe.map(base, used, probe.create(used));
  std::vector<CUmemGenericAllocationHandle> handles;
  for (std::size_t i = 0; i < granules / 2; ++i) handles.push_back(probe.create(probe.granule));
  CUdeviceptr wrong = 0;
  const std::uint64_t zero = 0;
  probe.must(probe.cuda.cuMemAlloc(&wrong, sizeof zero), "cuMemAlloc");
  probe.must(probe.cuda.cuMemcpyHtoD(wrong, &zero, sizeof zero), "cuMemcpyHtoD");
  probe.synchronize();

  const CUstream stream = probe.stream();
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  probe.must(probe.cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED), "cuStreamBeginCapture");
  for (std::uint32_t i = 0; i < 4; ++i) {
    probe.must(kernels.fill(base, used, i + 1, stream), "fill");
    probe.must(kernels.check(base, used, i + 1, wrong, stream), "check");
  }
  probe.must(probe.cuda.cuStreamEndCapture(stream, &graph), "cuStreamEndCapture");
  probe.must(probe.cuda.cuGraphInstantiateWithFlags(&exec, graph, 0), "cuGraphInstantiate");

  const std::size_t rounds = probe.many(500, 3);
  std::size_t calls = 0;
  std::size_t not_ready = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < 4; ++i) probe.must(probe.cuda.cuGraphLaunch(exec, stream), "cuGraphLaunch");
    for (std::size_t i = 0; i < handles.size(); ++i) {
      const CUdeviceptr at = base + used + i * probe.granule;
      probe.must(probe.cuda.cuMemMap(at, probe.granule, 0, handles[i], 0), "cuMemMap beside a graph");
      CUresult result = probe.access(at, probe.granule);
      for (; result == CUDA_ERROR_NOT_READY; result = probe.access(at, probe.granule)) ++not_ready;
      probe.must(result, "cuMemSetAccess beside a graph");
      ++calls;
    }
    probe.unmap(base + used, handles.size() * probe.granule);
  }
  probe.synchronize();
  std::uint64_t count = 0;
  probe.must(probe.cuda.cuMemcpyDtoH(&count, wrong, sizeof count), "cuMemcpyDtoH");
  fact("neighbours mapped and unmapped beside a replaying graph", static_cast<double>(calls), "mappings");
  fact("wrong words in the graph's range meanwhile", static_cast<double>(count), "words");
  fact("cuMemSetAccess beside a graph that said NOT_READY", static_cast<double>(not_ready), "calls");
}

// What a driver does when a rule is broken that only it can judge: PEND-1. May end the context.
void probe_pending_unmap(Probe& probe) {
  const Kernels kernels(probe.cuda);
  probe.must(kernels.status(), "cuModuleLoadData");
  const CUdeviceptr base = probe.reserve(probe.granule);
  probe.map(base, probe.granule, probe.create(probe.granule));
  const CUstream stream = probe.stream();
  probe.must(kernels.spin(probe.quick ? 1'000 : 200'000'000, stream), "spin");
  probe.must(kernels.fill(base, probe.granule, 1, stream), "fill");
  const Stopwatch watch;
  const CUresult unmapped = probe.cuda.cuMemUnmap(base, probe.granule);
  fact("cuMemUnmap of a range with work pending for 200 ms, time", watch.microseconds(), "us");
  fact("cuMemUnmap of a range with work pending, result", probe.cuda.name(unmapped));
  fact("cuStreamSynchronize after it", probe.cuda.name(probe.cuda.cuStreamSynchronize(stream)));
  CUdeviceptr linear = 0;
  fact("cuMemAlloc after that", probe.cuda.name(probe.cuda.cuMemAlloc(&linear, probe.granule)));
}

void probe_ceilings(Probe& probe) {
  const std::size_t most = probe.many(600'000, 300);
  const double patience = 60e6;
  const CUdeviceptr base = probe.reserve(most * probe.granule);
  const auto handle = probe.create(probe.granule);
  std::vector<double> late;
  CUresult result = CUDA_SUCCESS;
  std::size_t mapped = 0;
  const Stopwatch watch;
  for (; mapped < most && watch.microseconds() < patience; ++mapped) {
    const Stopwatch one;
    const CUdeviceptr at = base + mapped * probe.granule;
    result = probe.cuda.cuMemMap(at, probe.granule, 0, handle, 0);
    if (result == CUDA_SUCCESS) result = probe.access(at, probe.granule);
    if (result != CUDA_SUCCESS) break;
    if (mapped % 10'000 == 0)
      fact("cuMemMap and cuMemSetAccess with " + std::to_string(mapped) + " live mappings", one.microseconds(), "us");
  }
  fact("live mappings of one handle", static_cast<double>(mapped), "mappings");
  fact("live mappings ended by", result != CUDA_SUCCESS ? probe.cuda.name(result)
                                 : mapped == most       ? "the plan"
                                                        : "time");
  const Stopwatch unmapping;
  fact("cuMemUnmap of all of them", probe.cuda.name(probe.cuda.cuMemUnmap(base, mapped * probe.granule)));
  fact("cuMemUnmap of all of them, time", unmapping.microseconds(), "us");

  std::size_t terabytes = 0;
  constexpr std::size_t kTerabyte = std::size_t{1} << 40;
  for (CUdeviceptr at = 0; terabytes < 256; ++terabytes) {
    result = probe.cuda.cuMemAddressReserve(&at, kTerabyte, 0, 0, 0);
    if (result != CUDA_SUCCESS) break;
  }
  fact("virtual addresses", static_cast<double>(terabytes), "TiB");
  fact("virtual addresses ended by", result == CUDA_SUCCESS ? "the plan" : probe.cuda.name(result));
}

}  // namespace gapless::gpu
