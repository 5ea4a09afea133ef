// SPDX-License-Identifier: Apache-2.0
//
// A C++ program that uses the installed library. With GAPLESS_EXPECT_DEVICE set there must be a device, else there may
// be none.
#include <cstdio>
#include <cstdlib>
#include <gapless/gapless.hpp>
#include <gapless/interop/pmr.hpp>

int main() try {
  gapless::OpenOptions options;
  options.read_environment = false;
  auto opened = gapless::Allocator::try_open(options);
  if (opened.status() == gapless::Status::unsupported && std::getenv("GAPLESS_EXPECT_DEVICE") == nullptr) return 0;
  gapless::Allocator allocator = std::move(opened).value();
  const gapless::Device gpu = allocator.device(0);

  bool refused = false;
  {
    const gapless::Array<float> floats = gpu.allocate_array<float>(std::size_t{1} << 20);
    const gapless::Block bytes = gpu.allocate(1000);
    if (gpu.stats().requested_bytes[GAPLESS_ALL].current != (4 << 20) + 1000) return 1;
    try {
      static_cast<void>(gpu.allocate_array<float>(gapless::kNoLimit));
    } catch (const std::bad_alloc& error) {
      std::puts(error.what());
      refused = true;
    }
  }
  allocator.close();
  return refused ? 0 : 1;
} catch (const std::exception& error) {
  std::fputs(error.what(), stderr);
  return 1;
}
