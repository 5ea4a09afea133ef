// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/violations.hpp"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace gapless::driver::sim {

std::string run_again(const Config& config) {
  Config same = config;
  same.stats.clear();
  const char* command = std::getenv(kCommandVariable);
  return std::string(kConfigVariable) + "='" + format_config(same) + "' " +
         (command != nullptr ? command : "and the same command");
}

void Violations::add(const char* rule, std::uint64_t operation, std::string text) {
  count_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  if (list_.size() >= kMostKept) return;
  if (config_.report || config_.abort_on_violation) {
    std::fprintf(stderr, "[gapless-sim] %s broken at operation %llu, seed %llu: %s\n", rule,
                 static_cast<unsigned long long>(operation), static_cast<unsigned long long>(config_.seed),
                 text.c_str());
    if (list_.empty()) std::fprintf(stderr, "[gapless-sim] again: %s\n", run_again(config_).c_str());
  }
  if (config_.abort_on_violation) std::abort();
  list_.push_back({rule, operation, std::move(text)});
}

std::vector<Violation> Violations::list() const {
  const std::lock_guard lock(mutex_);
  return list_;
}

}  // namespace gapless::driver::sim
