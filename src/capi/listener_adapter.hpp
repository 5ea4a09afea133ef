// SPDX-License-Identifier: Apache-2.0
// gapless_listener behind the engine's interface.
#pragma once

#include "engine/hooks.hpp"

namespace gapless::capi {

class ListenerAdapter final : public engine::Listener {
 public:
  explicit ListenerAdapter(const gapless_listener& listener) : listener_(listener) {}
  bool wants(gapless_event_kind kind) const override {
    return listener_.on_event != nullptr && (listener_.kinds >> static_cast<unsigned>(kind) & 1) != 0;
  }
  std::uint64_t on_event(const gapless_event& event) override { return listener_.on_event(listener_.user, &event); }
  void release_cookie(std::uint64_t cookie) override {
    if (listener_.release_cookie != nullptr) listener_.release_cookie(listener_.user, cookie);
  }

 private:
  const gapless_listener listener_;
};

}  // namespace gapless::capi
