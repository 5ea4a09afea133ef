// SPDX-License-Identifier: Apache-2.0
// gpu_probe NAME [--quick]: one group of the hardware questions, as JSON lines. Exit status: 0; 3 where the device
// refused what the probe needs (the last line says what); 77 where there is no device.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gpu/facts.hpp"

namespace gapless::gpu {
namespace {

struct Named {
  const char* name;
  void (*run)(Probe&);
};

constexpr Named kProbes[] = {
    {"costs", probe_costs},
    {"delays", probe_delays},
    {"aliases", probe_aliases},
    {"unmap", probe_unmap},
    {"pending_unmap", probe_pending_unmap},
    {"ceilings", probe_ceilings},
    {"bandwidth", probe_bandwidth},
    {"accounting", probe_accounting},
};

// The other process of probe_accounting: holds memory until its standard input ends.
int hold(std::size_t bytes) {
  Probe probe;
  if (!probe.open(true)) return 77;
  (void)probe.create(bytes);
  (void)!::write(1, "+", 1);
  char byte = 0;
  while (::read(0, &byte, 1) > 0) {
  }
  return 0;
}

}  // namespace
}  // namespace gapless::gpu

int main(int argc, char** argv) {
  using namespace gapless::gpu;
  if (argc == 3 && std::strcmp(argv[1], "hold") == 0) return hold(std::strtoull(argv[2], nullptr, 10));
  const bool quick = argc == 3 && std::strcmp(argv[2], "--quick") == 0;
  for (const Named& each : kProbes) {
    if (argc < 2 || std::strcmp(argv[1], each.name) != 0) continue;
    Probe probe;
    if (!probe.open(quick)) return 77;
    each.run(probe);
    return 0;
  }
  std::fprintf(stderr, "usage: gpu_probe NAME [--quick]\nNames:");
  for (const Named& each : kProbes) std::fprintf(stderr, " %s", each.name);
  std::fprintf(stderr, "\n");
  return 2;
}
