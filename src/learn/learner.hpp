// SPDX-License-Identifier: Apache-2.0
// Keeps the evidence of all devices and kinds of steps. Any thread; it calls nothing while it holds its lock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/lock.hpp"
#include "engine/hooks.hpp"
#include "learn/evidence.hpp"

namespace gapless::learn {

class Learner final : public engine::StepReader {
 public:
  // A step that ended: kept as evidence if it did so well, its batch is known and the journal has all of it. One that
  // went on after a failure is evidence of nothing, and neither is that failure any more.
  void on_step(const engine::StepView& step) override;
  // A step that has just run out of memory, when at most `capacity` bytes could have been live. Nothing: without units
  // there is nothing to suggest.
  std::optional<gapless_suggestion> on_failure(const engine::StepView& step, std::uint64_t capacity);
  std::optional<Prediction> predict(int device, const std::string& label, std::uint64_t units, const Situation& now);

  void prepare_fork();
  void after_fork();

 private:
  using Key = std::pair<int, std::string>;
  static constexpr std::size_t kMostKinds =
      16;  // labels of all devices; beyond it the one unused for longest is forgotten

  struct Kind {
    Evidence evidence;
    std::uint64_t last_used = 0;  // of clock_
  };

  void on_failed_step(const engine::StepView& step);
  Evidence& evidence(const Key& key);
  // What speaks for steps of `key`: their own evidence, or that of their first parts while they have none.
  Evidence* teacher(const Key& key, Situation& now);

  base::LeafLock lock_;
  std::map<Key, Kind> kinds_;
  std::uint64_t clock_ = 0;  // one for all kinds: counts uses
};

}  // namespace gapless::learn
