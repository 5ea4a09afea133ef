// SPDX-License-Identifier: Apache-2.0
// What is known about steps of one kind (one label) on one device, and what follows for the size of the next.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "learn/recorded_step.hpp"
#include "learn/step_model.hpp"

namespace gapless::learn {

// Where the next step would start, in bytes.
struct Situation {
  std::uint64_t live_at_start = 0;
  std::uint64_t capacity = 0;  // live bytes that can be made room for
  // The step is a later part of one that this evidence has the first parts of: it makes its gradients as temporaries
  // beside those that are there.
  bool later_part = false;
};

struct Prediction {
  std::uint64_t peak = 0;       // of the units asked for
  std::uint64_t available = 0;  // what it may be at most
  gapless_suggestion suggestion{};
};

// Of `room` bytes that a step may add, those that will lie unusable inside granules, between blocks of other lengths,
// beyond those that are there already when a capacity is asked for. There are about as many such places in a large
// batch as in a small one. Measured at the least limit at which steps of 0.2 to 17 GiB ran, of nine models: from -14 to
// 18 MiB, whatever their size.
std::uint64_t unusable(std::uint64_t room);

class Evidence {
 public:
  // A step that ended well.
  void add_good(RecordedStep step);
  // An attempt that failed when at most `capacity` bytes could have been live.
  void add_failed(RecordedStep attempt, std::uint64_t capacity);
  // The failure was healed: the step went on.
  void forget_failed(std::uint64_t step_number);
  // When the attempt of that step ran out of memory, in events of the step. Nothing: it did not.
  std::optional<std::uint32_t> failed_at(std::uint64_t step_number) const;

  // Nothing: no step of this kind has been seen whole yet, and no attempt either.
  std::optional<Prediction> predict(std::uint64_t units, const Situation& now);
  gapless_suggestion suggest(const Situation& now);
  bool has_good() const { return !good_.empty(); }
  // The smallest batch that would fail today, as far as that is proven; 0: none.
  std::uint64_t proven_fails(const Situation& now) const {
    const Failed* const failed = smallest_failed(now);
    return failed != nullptr ? failed->step.units : 0;
  }

 private:
  struct Good {
    RecordedStep step;
    std::uint64_t seen;
  };
  struct Failed {
    RecordedStep step;
    std::uint64_t capacity;  // what would have fitted, as a live peak
  };
  static constexpr std::size_t kMostGood = 6;
  static constexpr std::uint64_t kStaleAfter = 64;  // steps; then a smaller step replaces what it should resemble

  const Failed* smallest_failed(const Situation& now) const;
  std::uint64_t usable(const Situation& now) const;
  void build();
  std::uint64_t most_units(const StepModel& model, const Situation& now, std::uint64_t above) const;
  void suggest_for_shape(const Situation& now, const RecordedStep& failed, gapless_suggestion& out);

  std::vector<Good> good_;  // ascending by units, one for each
  std::vector<Failed> failed_;
  std::uint64_t clock_ = 0;

  bool stale_ = true;  // the models are not of today's evidence
  std::optional<StepModel> model_;
  double confidence_ = 0.0;
  std::optional<StepModel> shape_;  // of the other shape that failed
  std::uint64_t shape_step_ = 0;    // the number of that step
};

}  // namespace gapless::learn
