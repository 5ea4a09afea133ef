// SPDX-License-Identifier: Apache-2.0
// The option inject_oom: which request is answered with out of memory although there is some. Under the fast lock.
#pragma once

#include <cstdint>

#include "config/options.hpp"
#include "engine/step_marks.hpp"

namespace gapless::engine {

class Injector {
 public:
  // Starts to count anew.
  void set(const config::InjectOom& what);
  bool armed() const { return what_.enabled && (what_.count == 0 || fired_ < what_.count); }
  // `allocations`: how many the device has served before this request of `bytes`.
  bool fires(const StepMarks& marks, std::int64_t allocations, std::uint64_t bytes);

 private:
  config::InjectOom what_;
  std::uint64_t fired_ = 0;
  std::uint64_t random_ = 0;
  bool this_rank_ = true;
};

}  // namespace gapless::engine
