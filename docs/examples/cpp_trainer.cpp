// SPDX-License-Identifier: Apache-2.0
// The memory side of a training loop in C++, without PyTorch: a step that does not fit is redone in smaller parts.
//
// Runs wherever libcuda.so.1 is found; without a GPU under `gapless-sim -- ./cpp_trainer`.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "gapless/gapless.hpp"

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Stands for the kernels of one forward and backward pass over `samples`: activations live until the pass has ended.
void pass(gapless::Device gpu, std::size_t samples, gapless::Stream stream) {
  std::vector<gapless::Block> activations;
  for (int layer = 0; layer < 12; ++layer) activations.push_back(gpu.allocate(samples * 4 * kMiB, stream));
  while (!activations.empty()) activations.pop_back();  // backward: the last layer first
}

// One step over `samples`, in parts of at most `part`. Returns the part size that worked.
std::size_t elastic_step(gapless::Device gpu, std::size_t samples, std::size_t part, gapless::Stream stream) {
  std::size_t done = 0;
  while (done < samples) {
    std::size_t now = std::min(part, samples - done);
    gpu.mark_step("train", now);
    // What earlier parts taught: a part that will not fit is not even begun.
    if (const auto forecast = gpu.try_forecast(now); forecast && forecast->peak_bytes > forecast->available_bytes) {
      now = std::clamp<std::size_t>(static_cast<std::size_t>(forecast->suggestion.units), 1, now);
      part = now;
      gpu.mark_step("train", now);
    }
    try {
      pass(gpu, now, stream);
      done += now;  // gradients of these samples are in; none is counted twice
    } catch (const gapless::OutOfMemory&) {
      if (now == 1) throw;
      // The record knows what fits when it has evidence; else the half.
      const std::uint64_t suggested = gpu.last_oom().suggestion.units;
      part = suggested > 0 && suggested < now ? static_cast<std::size_t>(suggested) : now / 2;
    }
  }
  return part;
}

}  // namespace

int main() try {
  gapless::Allocator allocator = gapless::Allocator::open();
  const gapless::Device gpu = allocator.device(0);
  const gapless::Stream stream = nullptr;

  // A cache that training can do without goes first when memory runs out.
  gapless::Block cache = gpu.allocate(64 * kMiB, stream);
  const gapless::OomHook hook = allocator.on_oom([&](const gapless::OomRecord&) {
    if (cache.empty()) return gapless::OomAnswer::give_up;
    cache.reset();
    return gapless::OomAnswer::try_again;
  });

  std::size_t part = 32;
  {
    const gapless::ScopedLimit limit = gpu.limit_to(600 * kMiB);
    for (int step = 0; step < 5; ++step) part = elastic_step(gpu, 32, part, stream);
  }
  const gapless::Stats stats = gpu.stats();
  std::printf("parts of %zu samples, peak %lld MiB, %lld out-of-memory signals\n", part,
              static_cast<long long>(stats.reserved_bytes[GAPLESS_ALL].peak >> 20),
              static_cast<long long>(stats.num_ooms));
  gapless::write_json_file("snapshot.json", gpu.snapshot());
  cache.reset();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
