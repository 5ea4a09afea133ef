// SPDX-License-Identifier: Apache-2.0
#include "engine/injector.hpp"

#include <cstdlib>
#include <cstring>

namespace gapless::engine {

namespace {

// SplitMix64: any seed will do, 0 included.
std::uint64_t next(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// torchrun, accelerate and DeepSpeed all set RANK.
bool is_rank(std::uint64_t rank) {
  const char* const text = std::getenv("RANK");
  return rank == (text != nullptr ? std::strtoull(text, nullptr, 10) : 0);
}

}  // namespace

void Injector::set(const config::InjectOom& what) {
  what_ = what;
  fired_ = 0;
  random_ = what.seed;
  this_rank_ = !what.rank || is_rank(*what.rank);
}

bool Injector::fires(const StepMarks& marks, std::int64_t allocations, std::uint64_t bytes) {
  if (!armed() || !this_rank_ || bytes < what_.at_least) return false;
  if (what_.step && *what_.step != marks.steps) return false;
  if (!what_.phase.empty() && what_.phase != marks.phase_label) return false;
  if (what_.allocation) {
    const std::int64_t before = what_.step ? marks.first_allocation : 0;
    if (static_cast<std::uint64_t>(allocations - before) + 1 != *what_.allocation) return false;
  }
  if (what_.probability < 1.0) {
    const double drawn = static_cast<double>(next(random_) >> 11) * 0x1.0p-53;
    if (drawn >= what_.probability) return false;
  }
  fired_++;
  return true;
}

}  // namespace gapless::engine
