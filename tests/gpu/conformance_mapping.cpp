// SPDX-License-Identifier: Apache-2.0
// MAP: mappings, access rights, two addresses of one handle.
#include "gpu/conformance.hpp"

namespace gapless::gpu {
namespace {

// One call of cuMemMap on a reservation of four granules and a handle of two.
void map_once(Run& run, std::size_t at, std::size_t bytes, std::size_t offset) {
  const CUdeviceptr base = run.reserve(4);
  const auto handle = run.create(2);
  if (run("cuMemMap", run.cuda.cuMemMap(base + at, bytes, offset, handle, 0)) == CUDA_SUCCESS) {
    run("cuMemSetAccess", run.access(base + at, bytes));
    run("cuMemUnmap", run.cuda.cuMemUnmap(base + at, bytes));
  }
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
  run("cuMemAddressFree", run.cuda.cuMemAddressFree(base, 4 * run.granule));
}

void outside_a_reservation(Run& run) {
  const CUdeviceptr base = run.reserve(2);
  const auto handle = run.create(2);
  run("cuMemMap over the end", run.cuda.cuMemMap(base + run.granule, 2 * run.granule, 0, handle, 0));
  run.must(run.cuda.cuMemAddressFree(base, 2 * run.granule), "cuMemAddressFree");
  run("cuMemMap where nothing is reserved", run.cuda.cuMemMap(base, 2 * run.granule, 0, handle, 0));
}

void over_a_mapping(Run& run) {
  const CUdeviceptr base = run.reserve(4);
  const auto first = run.create(2);
  const auto second = run.create(2);
  run.map(base, first, 2);
  run("cuMemMap at the same place", run.cuda.cuMemMap(base, 2 * run.granule, 0, second, 0));
  run("cuMemMap into its second half", run.cuda.cuMemMap(base + run.granule, 2 * run.granule, 0, second, 0));
  run("cuMemMap behind it", run.cuda.cuMemMap(base + 2 * run.granule, 2 * run.granule, 0, second, 0));
  run("cuMemUnmap of both", run.cuda.cuMemUnmap(base, 4 * run.granule));
}

void unmap_parts(Run& run) {
  const CUdeviceptr base = run.reserve(5);
  run.map(base, run.create(2), 2);
  run.map(base + 2 * run.granule, run.create());
  run("cuMemUnmap of half a mapping", run.cuda.cuMemUnmap(base, run.granule));
  run("cuMemUnmap from the middle of one", run.cuda.cuMemUnmap(base + run.granule, 2 * run.granule));
  run("cuMemUnmap over a hole at the end", run.cuda.cuMemUnmap(base, 4 * run.granule));
  run("cuMemUnmap of 0 bytes", run.cuda.cuMemUnmap(base, 0));
  run("cuMemUnmap of what is not mapped", run.cuda.cuMemUnmap(base + 4 * run.granule, run.granule));
  run("cuMemUnmap of two mappings", run.cuda.cuMemUnmap(base, 3 * run.granule));
  run("cuMemUnmap again", run.cuda.cuMemUnmap(base, 3 * run.granule));
}

void access_to_parts(Run& run) {
  const CUdeviceptr base = run.reserve(5);
  run.must(run.cuda.cuMemMap(base, 2 * run.granule, 0, run.create(2), 0), "cuMemMap");
  run.must(run.cuda.cuMemMap(base + 2 * run.granule, run.granule, 0, run.create(), 0), "cuMemMap");
  run("cuMemSetAccess to half a mapping", run.access(base, run.granule));
  run("cuMemSetAccess over a hole at the end", run.access(base, 4 * run.granule));
  run("cuMemSetAccess to what is not mapped", run.access(base + 4 * run.granule, run.granule));
  run("cuMemSetAccess to two mappings", run.access(base, 3 * run.granule));
  run("cuMemSetAccess again", run.access(base, 3 * run.granule));
  run("cuMemSetAccess for no device", run.access(base, 3 * run.granule, 0, 0));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, 3 * run.granule));
}

void rights(Run& run) {
  const CUdeviceptr base = run.reserve(2);
  const auto handle = run.create();
  CUmemLocation location{};
  location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  unsigned long long flags = 99;
  run.must(run.cuda.cuMemMap(base, run.granule, 0, handle, 0), "cuMemMap");
  run("cuMemGetAccess of a fresh mapping", run.cuda.cuMemGetAccess(&flags, &location, base));
  run.saw("rights", flags);
  run.must(run.access(base, run.granule), "cuMemSetAccess");
  run("cuMemGetAccess", run.cuda.cuMemGetAccess(&flags, &location, base));
  run.saw("rights", flags);
  run("cuMemGetAccess where nothing is mapped", run.cuda.cuMemGetAccess(&flags, &location, base + run.granule));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
  run.must(run.cuda.cuMemMap(base, run.granule, 0, handle, 0), "cuMemMap");
  run("cuMemGetAccess after mapping again", run.cuda.cuMemGetAccess(&flags, &location, base));
  run.saw("rights", flags);
}

// What the engine's dormant mappings stand on.
void two_addresses(Run& run) {
  const CUdeviceptr base = run.reserve(2);
  const CUdeviceptr other = base + run.granule;
  const auto handle = run.create();
  const std::size_t before = run.free_bytes();
  run.must(run.cuda.cuMemMap(base, run.granule, 0, handle, 0), "cuMemMap");
  run("cuMemMap at a second address", run.cuda.cuMemMap(other, run.granule, 0, handle, 0));
  run("cuMemSetAccess to both", run.access(base, 2 * run.granule));
  run.saw("bytes that a second mapping takes", before - run.free_bytes());
  const CUstream stream = run.stream();
  run("cuMemsetD8Async through the first", run.cuda.cuMemsetD8Async(base, 21, run.granule, stream));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run.saw("byte through the second", run.byte_at(other + run.granule - 1));
  run("cuMemsetD8Async through the second", run.cuda.cuMemsetD8Async(other, 22, run.granule, stream));
  run("cuMemcpyDtoDAsync from the first to itself",
      run.cuda.cuMemcpyDtoDAsync(base + run.granule / 2, base, run.granule / 2, stream));
  run("cuStreamSynchronize", run.cuda.cuStreamSynchronize(stream));
  run.saw("byte through the first", run.byte_at(base + run.granule - 1));
  run("cuMemUnmap of the first", run.cuda.cuMemUnmap(base, run.granule));
  run.saw("byte through the second", run.byte_at(other));
  run("cuMemMap at the first again", run.cuda.cuMemMap(base, run.granule, 0, handle, 0));
  run("cuMemSetAccess", run.access(base, run.granule));
  run.saw("byte through the first", run.byte_at(base));
  run("cuMemUnmap of both", run.cuda.cuMemUnmap(base, 2 * run.granule));
  run("cuMemRelease", run.cuda.cuMemRelease(handle));
}

// The bytes of a handle outlive its mappings.
void bytes_stay(Run& run) {
  const CUdeviceptr base = run.reserve(2);
  const auto handle = run.create();
  run.map(base, handle);
  run("cuMemsetD8Async", run.cuda.cuMemsetD8Async(base, 77, run.granule, nullptr));
  run("cuCtxSynchronize", run.cuda.cuCtxSynchronize());
  run("cuMemUnmap", run.cuda.cuMemUnmap(base, run.granule));
  run.map(base + run.granule, handle);
  run.saw("byte at another address", run.byte_at(base + run.granule));
  run("cuMemUnmap", run.cuda.cuMemUnmap(base + run.granule, run.granule));
}

}  // namespace

std::vector<Scenario> mapping_scenarios() {
  return {
      {"MAP-1 kept", [](Run& run) { map_once(run, 0, 2 * run.granule, 0); }},
      {"MAP-1 odd address", [](Run& run) { map_once(run, 512, 2 * run.granule, 0); }, true},
      {"MAP-1 odd size", [](Run& run) { map_once(run, 0, run.granule + 512, 0); }, true},
      {"MAP-1 no size", [](Run& run) { map_once(run, 0, 0, 0); }, true},
      {"MAP-1 longer than the handle", [](Run& run) { map_once(run, 0, 3 * run.granule, 0); }, true},
      {"MAP-1 an offset", [](Run& run) { map_once(run, 0, run.granule, run.granule); }, true},
      {"MAP-7 half a handle", [](Run& run) { map_once(run, 0, run.granule, 0); }, true},
      {"MAP-2 outside a reservation", outside_a_reservation, true},
      {"MAP-3 over a mapping", over_a_mapping, true},
      {"MAP-4 parts", unmap_parts, true},
      {"MAP-5 parts", access_to_parts, true},
      {"MAP-6 rights", rights, true},
      {"two addresses of one handle", two_addresses},
      {"a handle's bytes outlive its mappings", bytes_stay},
  };
}

}  // namespace gapless::gpu
