// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/creator_model.hpp"

#include <algorithm>

#include "tools/replay/cost_model.hpp"

namespace gapless::tools {
namespace {
constexpr std::uint64_t kHandleBytes = std::uint64_t{2} << 20;  // the granule of every current device
}  // namespace

CreatorModel::CreatorModel(Backend& backend, DriverWatch& watch) : backend_(backend), watch_(watch) {
  watch.on_time([this](double us) { pass(us); });
}

void CreatorModel::pass(double us) {
  now_ += us;
  // A handle that would not be ready by now is not begun: its bytes would count too early.
  const double handle_us = cost_in_us(cost_of("cuMemCreate"), kHandleBytes);
  while (free_at_ + handle_us <= now_) {
    watch_.set_beside(true);
    const double before = watch_.time().creator_us;
    const bool made = backend_.create_ahead();
    watch_.set_beside(false);
    // It looks again when the program's thread has got further.
    if (!made) {
      free_at_ = now_;
      return;
    }
    free_at_ += std::max(watch_.time().creator_us - before, handle_us);
  }
}

}  // namespace gapless::tools
