// SPDX-License-Identifier: Apache-2.0
// Question 1: what each call costs the thread that makes it: on an idle device, beside a long kernel of another stream,
// and beside a stream of short kernels; and by how much it delays that stream.
#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "gpu/facts.hpp"
#include "gpu/kernels.hpp"

namespace gapless::gpu {
namespace {

constexpr std::size_t kMiB = 1u << 20;

double timed(const std::function<void()>& call) {
  const Stopwatch watch;
  call();
  return watch.microseconds();
}

// How many of `wanted` rounds fit into two seconds, when one takes what `once` takes: a call that waits for the
// device's work is as slow as that work.
std::size_t affordable(std::size_t wanted, const std::function<void()>& once) {
  const double microseconds = std::max(timed(once), 1.0);
  return std::min(wanted, std::max<std::size_t>(3, static_cast<std::size_t>(2e6 / microseconds)));
}

void costs_of_handles(const Probe& probe, const std::string& where, std::size_t mebibytes, std::size_t wanted) {
  const std::size_t bytes = mebibytes * kMiB;
  const std::size_t count = affordable(wanted, [&] {
    const CUdeviceptr base = probe.reserve(bytes);
    const auto handle = probe.create(bytes);
    probe.map(base, bytes, handle);
    probe.unmap(base, bytes);
    probe.must(probe.cuda.cuMemRelease(handle), "cuMemRelease");
    probe.must(probe.cuda.cuMemAddressFree(base, bytes), "cuMemAddressFree");
  });
  const std::string what = " of " + std::to_string(mebibytes) + " MiB, " + where;
  const CUdeviceptr base = probe.reserve(count * bytes);
  std::vector<CUmemGenericAllocationHandle> handles;
  std::vector<double> create, map, access, unmap, release;
  for (std::size_t i = 0; i < count; ++i) create.push_back(timed([&] { handles.push_back(probe.create(bytes)); }));
  for (const std::size_t i : {std::size_t{1}, std::size_t{1000}, std::size_t{10000}}) {
    if (i <= create.size()) fact("cuMemCreate" + what + ", number " + std::to_string(i), create[i - 1], "us");
  }
  for (std::size_t i = 0; i < count; ++i)
    map.push_back(
        timed([&] { probe.must(probe.cuda.cuMemMap(base + i * bytes, bytes, 0, handles[i], 0), "cuMemMap"); }));
  for (std::size_t i = 0; i < count; ++i)
    access.push_back(timed([&] { probe.must(probe.access(base + i * bytes, bytes), "cuMemSetAccess"); }));
  for (std::size_t i = 0; i < count; ++i) unmap.push_back(timed([&] { probe.unmap(base + i * bytes, bytes); }));
  for (const auto handle : handles)
    release.push_back(timed([&] { probe.must(probe.cuda.cuMemRelease(handle), "cuMemRelease"); }));
  facts_of("cuMemCreate" + what, create, "us");
  facts_of("cuMemMap" + what, map, "us");
  facts_of("cuMemSetAccess" + what, access, "us");
  facts_of("cuMemUnmap" + what, unmap, "us");
  facts_of("cuMemRelease" + what, release, "us");
  probe.must(probe.cuda.cuMemAddressFree(base, count * bytes), "cuMemAddressFree");
}

// One cuMemSetAccess and one cuMemUnmap over a run of many granules: each its own handle, or all one handle.
void costs_of_runs(const Probe& probe, const std::string& where) {
  for (const std::size_t run : {1u, 10u, 100u, 1000u}) {
    if (probe.quick && run > 100) continue;
    const std::size_t bytes = run * probe.granule;
    const CUdeviceptr base = probe.reserve(bytes);
    std::vector<double> access, unmap, one_access, one_unmap;
    std::vector<CUmemGenericAllocationHandle> handles;
    for (std::size_t i = 0; i < run; ++i) handles.push_back(probe.create(probe.granule));
    const auto whole = probe.create(bytes);
    const std::size_t times = affordable(probe.many(20, 2), [&] {
      probe.map(base, bytes, whole);
      probe.unmap(base, bytes);
    });
    for (std::size_t time = 0; time < times; ++time) {
      for (std::size_t i = 0; i < run; ++i)
        probe.must(probe.cuda.cuMemMap(base + i * probe.granule, probe.granule, 0, handles[i], 0), "cuMemMap");
      access.push_back(timed([&] { probe.must(probe.access(base, bytes), "cuMemSetAccess"); }));
      unmap.push_back(timed([&] { probe.unmap(base, bytes); }));
      probe.must(probe.cuda.cuMemMap(base, bytes, 0, whole, 0), "cuMemMap");
      one_access.push_back(timed([&] { probe.must(probe.access(base, bytes), "cuMemSetAccess"); }));
      one_unmap.push_back(timed([&] { probe.unmap(base, bytes); }));
    }
    const std::string many = " over " + std::to_string(run) + " granules of as many handles, " + where;
    const std::string one = " over " + std::to_string(run) + " granules of one handle, " + where;
    facts_of("cuMemSetAccess" + many, access, "us");
    facts_of("cuMemUnmap" + many, unmap, "us");
    facts_of("cuMemSetAccess" + one, one_access, "us");
    facts_of("cuMemUnmap" + one, one_unmap, "us");
    for (const auto handle : handles) probe.must(probe.cuda.cuMemRelease(handle), "cuMemRelease");
    probe.must(probe.cuda.cuMemRelease(whole), "cuMemRelease");
    probe.must(probe.cuda.cuMemAddressFree(base, bytes), "cuMemAddressFree");
  }
}

void costs_of_the_rest(const Probe& probe, const std::string& where) {
  const CUstream stream = probe.stream();
  const CUevent event = probe.event();
  std::vector<double> reserve, record, query, wait, allocate, free;
  for (std::size_t i = 0; i < probe.many(500, 20); ++i) {
    CUdeviceptr base = 0;
    reserve.push_back(timed([&] { base = probe.reserve(64 * probe.granule); }));
    probe.must(probe.cuda.cuMemAddressFree(base, 64 * probe.granule), "cuMemAddressFree");
    record.push_back(timed([&] { probe.must(probe.cuda.cuEventRecord(event, stream), "cuEventRecord"); }));
    query.push_back(timed([&] { (void)probe.cuda.cuEventQuery(event); }));
    wait.push_back(timed([&] { probe.must(probe.cuda.cuStreamWaitEvent(stream, event, 0), "cuStreamWaitEvent"); }));
  }
  const std::size_t times = affordable(probe.many(50, 5), [&] {
    CUdeviceptr base = 0;
    probe.must(probe.cuda.cuMemAlloc(&base, 20 * kMiB), "cuMemAlloc");
    probe.must(probe.cuda.cuMemFree(base), "cuMemFree");
  });
  for (std::size_t i = 0; i < times; ++i) {
    CUdeviceptr base = 0;
    allocate.push_back(timed([&] { probe.must(probe.cuda.cuMemAlloc(&base, 20 * kMiB), "cuMemAlloc"); }));
    free.push_back(timed([&] { probe.must(probe.cuda.cuMemFree(base), "cuMemFree"); }));
  }
  facts_of("cuMemAddressReserve of 128 MiB, " + where, reserve, "us");
  facts_of("cuEventRecord, " + where, record, "us");
  facts_of("cuEventQuery, " + where, query, "us");
  facts_of("cuStreamWaitEvent, " + where, wait, "us");
  facts_of("cuMemAlloc of 20 MiB, " + where, allocate, "us");
  facts_of("cuMemFree of 20 MiB, " + where, free, "us");
  probe.must(probe.cuda.cuEventDestroy(event), "cuEventDestroy");
  probe.must(probe.cuda.cuStreamDestroy(stream), "cuStreamDestroy");
}

// Keeps a stream supplied with kernels until it is destroyed.
class Load {
 public:
  Load(const Probe& probe, const Kernels& kernels, std::uint64_t nanoseconds) {
    thread_ = std::thread([&probe, &kernels, nanoseconds, this] {
      CUcontext context = nullptr;
      probe.must(probe.cuda.cuDevicePrimaryCtxRetain(&context, 0), "cuDevicePrimaryCtxRetain");
      probe.must(probe.cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent");
      const CUstream stream = probe.stream();
      const CUevent event = probe.event();
      // At most two batches are queued, so that the end of the load is near at any time.
      while (!stop_.load()) {
        for (int i = 0; i < (nanoseconds > 1'000'000 ? 1 : 64); ++i)
          probe.must(kernels.spin(nanoseconds, stream), "spin");
        started_.store(true);
        probe.must(probe.cuda.cuEventSynchronize(event), "cuEventSynchronize");
        probe.must(probe.cuda.cuEventRecord(event, stream), "cuEventRecord");
      }
      probe.must(probe.cuda.cuStreamSynchronize(stream), "cuStreamSynchronize");
    });
    while (!started_.load()) std::this_thread::yield();
  }
  ~Load() {
    stop_.store(true);
    thread_.join();
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::atomic<bool> started_{false};
  std::thread thread_;
};

}  // namespace

void probe_costs(Probe& probe) {
  const Kernels kernels(probe.cuda);
  probe.must(kernels.status(), "cuModuleLoadData");
  // Once over everything, unmeasured: first calls build tables.
  const CUdeviceptr base = probe.reserve(probe.granule);
  const auto handle = probe.create(probe.granule);
  probe.map(base, probe.granule, handle);
  probe.unmap(base, probe.granule);

  const std::size_t sizes[] = {2, 4, 8, 20, 32, 64};
  for (const std::size_t size : sizes) {
    const std::size_t room = probe.free_bytes() / 2 / (size * kMiB);
    costs_of_handles(probe, "idle", size, std::min(room, probe.many(size == 2 ? 10'000 : 1'000, 4)));
  }
  costs_of_runs(probe, "idle");
  costs_of_the_rest(probe, "idle");
  for (const auto& [where, nanoseconds] :
       {std::pair<const char*, std::uint64_t>{"beside a long kernel", 300'000'000}, {"beside short kernels", 20'000}}) {
    const Load load(probe, kernels, probe.quick ? 1'000 : nanoseconds);
    for (const std::size_t size : {2u, 20u}) costs_of_handles(probe, where, size, probe.many(200, 2));
    costs_of_runs(probe, where);
    costs_of_the_rest(probe, where);
  }
}

// A stream of kernels of 50 us with a timed event behind each; the gaps while another thread makes one kind of call.
void probe_delays(Probe& probe) {
  const Kernels kernels(probe.cuda);
  probe.must(kernels.status(), "cuModuleLoadData");
  const std::size_t count = probe.many(400, 10);
  const CUdeviceptr base = probe.reserve(64 * probe.granule);
  const CUstream stream = probe.stream();
  std::vector<CUevent> events;
  for (std::size_t i = 0; i <= count; ++i) events.push_back(probe.event(true));
  const auto handle = probe.create(probe.granule);
  const auto measure = [&](const std::string& name, const std::function<void()>& call) {
    probe.must(probe.cuda.cuEventRecord(events[0], stream), "cuEventRecord");
    for (std::size_t i = 1; i <= count; ++i) {
      probe.must(kernels.spin(probe.quick ? 100 : 50'000, stream), "spin");
      probe.must(probe.cuda.cuEventRecord(events[i], stream), "cuEventRecord");
    }
    std::size_t calls = 0;
    while (probe.cuda.cuEventQuery(events[count]) == CUDA_ERROR_NOT_READY && calls < 100'000) {
      call();
      ++calls;
    }
    probe.must(probe.cuda.cuStreamSynchronize(stream), "cuStreamSynchronize");
    std::vector<double> gaps;
    for (std::size_t i = 1; i <= count; ++i) {
      float milliseconds = 0;
      probe.must(probe.cuda.cuEventElapsedTime(&milliseconds, events[i - 1], events[i]), "cuEventElapsedTime");
      gaps.push_back(milliseconds * 1000.0);
    }
    facts_of("a kernel of 50 us and its event, " + name, gaps, "us");
    fact("calls made meanwhile, " + name, static_cast<double>(calls), "calls");
  };
  measure("undisturbed", [] { std::this_thread::yield(); });
  measure("beside cuMemCreate and cuMemRelease",
          [&] { probe.must(probe.cuda.cuMemRelease(probe.create(probe.granule)), "cuMemRelease"); });
  measure("beside cuMemMap, cuMemSetAccess and cuMemUnmap", [&] {
    probe.map(base, probe.granule, handle);
    probe.unmap(base, probe.granule);
  });
  measure("beside cuMemMap and cuMemUnmap", [&] {
    probe.must(probe.cuda.cuMemMap(base, probe.granule, 0, handle, 0), "cuMemMap");
    probe.unmap(base, probe.granule);
  });
  measure("beside cuMemAlloc and cuMemFree", [&] {
    CUdeviceptr linear = 0;
    probe.must(probe.cuda.cuMemAlloc(&linear, 20 * kMiB), "cuMemAlloc");
    probe.must(probe.cuda.cuMemFree(linear), "cuMemFree");
  });
}

}  // namespace gapless::gpu
