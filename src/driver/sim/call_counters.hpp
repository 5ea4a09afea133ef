// SPDX-License-Identifier: Apache-2.0
// Calls by function name. A call site asks for its id once and then pays one relaxed increment.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace gapless::driver::sim {

class CallCounters {
 public:
  static constexpr int kMost = 4096;  // libcuda, libcudart and the maths libraries together export about 2,500

  // The same name gives the same id. Names beyond kMost share the last id.
  int id(std::string_view name);
  void count(int id) { counts_[static_cast<std::size_t>(id)].fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t calls(std::string_view name) const;
  void reset();

  template <typename F>
  void for_each(F&& f) const {  // by name, ascending
    const std::lock_guard lock(mutex_);
    for (const auto& [name, id] : ids_) f(name, counts_[static_cast<std::size_t>(id)].load(std::memory_order_relaxed));
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int, std::less<>> ids_;
  std::array<std::atomic<std::uint64_t>, kMost> counts_{};
};

}  // namespace gapless::driver::sim
