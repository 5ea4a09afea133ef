// SPDX-License-Identifier: Apache-2.0
#include "learn/evidence.hpp"

#include <algorithm>

namespace gapless::learn {

namespace {

// Two steps that start this close to each other start alike: a loss that is kept, a counter.
constexpr std::uint64_t kSameStart = 4 * kMiB;
constexpr std::size_t kMostFailed = 4;
// What was not measured at another batch, where it is not known by its place either, may run other kernels there, with
// temporaries of their own. The sums over rows are reckoned with; of the rest the most seen was 0.05 % of the growth.
constexpr Aside kOtherKernels{0.0025, 132.0 * kMiB};
// The search for the largest batch goes no further than this many times what has been seen.
constexpr std::uint64_t kFarthest = 64;

// How sure a forecast from one good step alone is.
constexpr double kOneStep = 0.5;
// And one from a failure alone.
constexpr double kOneFailure = 0.2;
// An attempt of another shape tells how it grows if at least this share of a good step's bytes was found in it.
constexpr double kSeenOfShape = 0.02;
// Two sizes closer than four to five say little of how a life grows: rounding to 512 B hides it, and what looks fixed
// would be so at any size.
bool far_apart(const RecordedStep& small, const RecordedStep& large) {
  return small.units * 5 <= large.units * 4;
}

std::uint64_t added(const RecordedStep& step) {
  return step.peak > step.live_at_start ? step.peak - step.live_at_start : 0;
}

std::uint64_t peak(const StepModel& model, std::uint64_t units, const Situation& now, Aside aside) {
  return model.peak(units, now.live_at_start, !now.later_part, aside);
}

}  // namespace

std::uint64_t unusable(std::uint64_t room) {
  return std::min(room / 64, 16 * kMiB);
}

void Evidence::add_good(RecordedStep step) {
  clock_++;
  // It fits after all: what failed with no more was another situation, or another shape.
  const auto refuted = [&](const Failed& failed) {
    return failed.step.units <= step.units && failed.step.live_at_start <= step.live_at_start + kSameStart;
  };
  stale_ = std::erase_if(failed_, refuted) > 0 || stale_;
  const auto at = std::lower_bound(good_.begin(), good_.end(), step.units,
                                   [](const Good& good, std::uint64_t units) { return good.step.units < units; });
  if (at != good_.end() && at->step.units == step.units) {
    // Batches of one size differ in shape: the largest speaks for them, unless it was a first step or is long past.
    const bool first = at->step.growth() > step.growth() + kSameStart;
    const bool replace = first || added(step) >= added(at->step) || clock_ - at->seen > kStaleAfter;
    if (!replace) return;
    stale_ = stale_ || first || added(step) != added(at->step);
    *at = Good{std::move(step), clock_};
    return;
  }
  good_.insert(at, Good{std::move(step), clock_});
  stale_ = true;
  if (good_.size() > kMostGood)
    good_.erase(
        std::min_element(good_.begin(), good_.end(), [](const Good& a, const Good& b) { return a.seen < b.seen; }));
}

void Evidence::add_failed(RecordedStep attempt, std::uint64_t capacity) {
  attempt.cut = true;
  std::erase_if(failed_, [&](const Failed& other) { return other.step.units == attempt.units; });
  if (failed_.size() == kMostFailed) failed_.erase(failed_.begin());
  failed_.push_back(Failed{std::move(attempt), capacity});
  stale_ = true;
}

void Evidence::forget_failed(std::uint64_t step_number) {
  const auto healed = [&](const Failed& failed) { return failed.step.number == step_number; };
  stale_ = std::erase_if(failed_, healed) > 0 || stale_;
}

std::optional<std::uint32_t> Evidence::failed_at(std::uint64_t step_number) const {
  for (const Failed& failed : failed_)
    if (failed.step.number == step_number) return failed.step.events;
  return std::nullopt;
}

// The smallest batch that would fail again today: it failed with no more live at its start, and no less to be had.
const Evidence::Failed* Evidence::smallest_failed(const Situation& now) const {
  const Failed* smallest = nullptr;
  for (const Failed& failed : failed_) {
    if (failed.step.live_at_start > now.live_at_start + kSameStart) continue;
    // Much more can be had than then: the limit was raised, another process has gone.
    if (now.capacity > failed.capacity + failed.capacity / 20) continue;
    if (smallest == nullptr || failed.step.units < smallest->step.units) smallest = &failed;
  }
  return smallest;
}

std::uint64_t Evidence::usable(const Situation& now) const {
  const Failed* const failed = smallest_failed(now);
  const std::uint64_t usable = failed != nullptr ? std::min(now.capacity, failed->capacity) : now.capacity;
  const std::uint64_t room = usable - std::min(usable, now.live_at_start);
  return usable - unusable(room);
}

void Evidence::build() {
  if (!stale_) return;
  stale_ = false;
  model_.reset();
  shape_.reset();
  if (good_.empty()) return;
  const RecordedStep& largest = good_.back().step;
  if (good_.size() >= 2) {
    // The nearest that is far enough, since what is not a line is nearly one close by; else the farthest there is.
    const auto near =
        std::find_if(good_.rbegin() + 1, good_.rend(), [&](const Good& good) { return far_apart(good.step, largest); });
    const bool far = near != good_.rend();
    model_ = StepModel::between(far ? near->step : good_.front().step, largest);
    confidence_ = (far ? 0.95 : kOneStep) * model_->measured();
    return;
  }
  const Failed* attempt = nullptr;
  for (const Failed& failed : failed_)
    if (failed.step.units > largest.units && !failed.step.lives.empty() &&
        (attempt == nullptr || failed.step.events > attempt->step.events))
      attempt = &failed;
  if (attempt != nullptr) {
    model_ = StepModel::from_attempt(largest, attempt->step);
    confidence_ = kOneStep + 0.4 * model_->measured();
  } else {
    model_ = StepModel::from_one(largest);
    confidence_ = kOneStep;
  }
}

// The largest batch whose peak fits, below `above` where that is not 0.
std::uint64_t Evidence::most_units(const StepModel& model, const Situation& now, std::uint64_t above) const {
  const std::uint64_t room = usable(now);
  const auto fits = [&](std::uint64_t units) { return peak(model, units, now, kOtherKernels) <= room; };
  std::uint64_t fails = above != 0 ? above : good_.back().step.units * kFarthest + 1;
  std::uint64_t most = 0;
  while (fails - most > 1) {
    const std::uint64_t middle = most + (fails - most) / 2;
    (fits(middle) ? most : fails) = middle;
  }
  return most;
}

// Of another shape only the failure is known, and how far it had come.
void Evidence::suggest_for_shape(const Situation& now, const RecordedStep& failed, gapless_suggestion& out) {
  out.units = std::min(out.units, std::max<std::uint64_t>(failed.units / 2, 1));
  out.confidence = kOneFailure;
  if (!failed.lives.empty()) {
    if (!shape_ || shape_step_ != failed.number) {
      const auto near =
          std::find_if(good_.begin(), good_.end(), [&](const Good& good) { return good.step.units >= failed.units; });
      shape_ = StepModel::of_shape(near->step, failed);
      shape_step_ = failed.number;
    }
    if (shape_->measured() >= kSeenOfShape) {
      out.units = std::max<std::uint64_t>(most_units(*shape_, now, failed.units), 1);
      out.confidence = kOneStep + 0.4 * shape_->measured();
    }
  }
  out.proven_fits = std::min(out.proven_fits, out.units);
}

gapless_suggestion Evidence::suggest(const Situation& now) {
  build();
  gapless_suggestion out{};
  out.evidence_steps = static_cast<std::uint32_t>(good_.size());
  const Failed* const failed = smallest_failed(now);
  if (failed != nullptr) out.proven_fails = failed->step.units;
  for (const Good& good : good_) {
    const std::uint64_t start = std::max(good.step.live_at_start, now.live_at_start);
    const bool alike = now.live_at_start <= good.step.live_at_start + kSameStart;
    if ((alike || start + added(good.step) <= usable(now)) && good.step.peak <= now.capacity)
      out.proven_fits = good.step.units;
  }
  if (out.proven_fails != 0 && out.proven_fits >= out.proven_fails) out.proven_fits = out.proven_fails - 1;
  if (model_) {
    out.units = std::max(most_units(*model_, now, out.proven_fails), out.proven_fits);
    out.confidence = out.units == out.proven_fits ? 1.0 : confidence_;
    // So many units ran before: this batch has another shape.
    if (failed != nullptr && good_.back().step.units >= failed->step.units) suggest_for_shape(now, failed->step, out);
  } else if (failed != nullptr) {
    // Only an attempt: what it had reached would fit if all of it grew with the batch. It would have gone on.
    const double had = static_cast<double>(added(failed->step)) + 1.0;
    const double room = static_cast<double>(usable(now)) - static_cast<double>(now.live_at_start);
    const double most = static_cast<double>(failed->step.units) * std::min(std::max(room / had, 0.0), 1.0);
    out.units = std::max<std::uint64_t>(1, std::min(static_cast<std::uint64_t>(most), failed->step.units / 2));
    out.confidence = kOneFailure;
  }
  return out;
}

std::optional<Prediction> Evidence::predict(std::uint64_t units, const Situation& now) {
  build();
  if (!model_) return std::nullopt;
  const std::uint64_t said = peak(*model_, units, now, Aside{});
  const std::uint64_t aside = peak(*model_, units, now, kOtherKernels) - said;
  const std::uint64_t room = usable(now);
  return Prediction{said, room - std::min(room, aside), suggest(now)};
}

}  // namespace gapless::learn
