// SPDX-License-Identifier: Apache-2.0
#include "learn/learner.hpp"

#include <algorithm>
#include <mutex>
#include <thread>

namespace gapless::learn {

namespace {

void limit(gapless_suggestion& said, std::uint64_t fails) {
  if (fails == 0 || (said.proven_fails != 0 && said.proven_fails <= fails)) return;
  said.proven_fails = fails;
  said.units = std::min(said.units, std::max<std::uint64_t>(fails - 1, 1));
  said.proven_fits = std::min(said.proven_fits, fails - 1);
}

// Whether a step went on after a request of it had failed at `time`. A library that was refused a workspace takes
// another algorithm, a caller may catch the error: such a failure says nothing about the batch. One that ends the step
// is followed by frees.
bool went_on(const engine::StepView& view, std::uint32_t time) {
  return std::any_of(view.entries.begin(), view.entries.end(), [&](const Life& life) {
    return !is_older(life) && life.birth >= time && life.units >= kTellingUnits;
  });
}

}  // namespace

Evidence& Learner::evidence(const Key& key) {
  if (kinds_.size() >= kMostKinds && kinds_.find(key) == kinds_.end())
    kinds_.erase(std::min_element(kinds_.begin(), kinds_.end(), [](const auto& a, const auto& b) {
      return a.second.last_used < b.second.last_used;
    }));
  Kind& kind = kinds_[key];
  kind.last_used = ++clock_;
  return kind.evidence;
}

Evidence* Learner::teacher(const Key& key, Situation& now) {
  const auto own = kinds_.find(key);
  if (own != kinds_.end()) own->second.last_used = ++clock_;
  if (own != kinds_.end() && own->second.evidence.has_good()) return &own->second.evidence;
  if (key.second.ends_with('+')) {
    const auto first = kinds_.find(Key(key.first, key.second.substr(0, key.second.size() - 1)));
    if (first != kinds_.end() && first->second.evidence.has_good()) {
      first->second.last_used = ++clock_;
      now.later_part = true;
      return &first->second.evidence;
    }
  }
  return own != kinds_.end() ? &own->second.evidence : nullptr;
}

void Learner::on_step(const engine::StepView& view) {
  if (view.failed) return on_failed_step(view);
  // An empty step is a mark that was corrected by the next one.
  if (!view.whole || view.units == 0 || view.entries.empty()) return;
  RecordedStep step = record(view);
  const std::lock_guard guard(lock_);
  Evidence& one = evidence(Key(view.device, view.label));
  one.forget_failed(view.number);
  one.add_good(std::move(step));
}

// A step that was told of by on_failure has ended. Whether it ended there, or was done with less of its batch after
// all, is not known to the allocator, so where it went on nothing is proven: neither that the batch fails nor that it
// fits.
void Learner::on_failed_step(const engine::StepView& view) {
  const std::lock_guard guard(lock_);
  const auto own = kinds_.find(Key(view.device, view.label));
  if (own == kinds_.end()) return;
  const std::optional<std::uint32_t> time = own->second.evidence.failed_at(view.number);
  if (time && went_on(view, *time)) own->second.evidence.forget_failed(view.number);
}

std::optional<gapless_suggestion> Learner::on_failure(const engine::StepView& view, std::uint64_t capacity) {
  if (view.units == 0) return std::nullopt;
  RecordedStep step = record(view);
  // That this batch failed is proven all the same; a journal with holes says nothing about what grows.
  if (!view.whole) step.lives.clear(), step.fixed.clear();
  const std::lock_guard guard(lock_);
  const Key key(view.device, view.label);
  Situation now{step.live_at_start, capacity};
  evidence(key).add_failed(std::move(step), capacity);
  Evidence& one = *teacher(key, now);
  gapless_suggestion said = one.suggest(now);
  limit(said, kinds_[key].evidence.proven_fails(now));
  return said;
}

std::optional<Prediction> Learner::predict(int device, const std::string& label, std::uint64_t units,
                                           const Situation& now) {
  const std::lock_guard guard(lock_);
  const Key key(device, label);
  Situation then = now;
  Evidence* const one = teacher(key, then);
  if (one == nullptr) return std::nullopt;
  std::optional<Prediction> said = one->predict(units, then);
  if (const auto own = kinds_.find(key); said && own != kinds_.end())
    limit(said->suggestion, own->second.evidence.proven_fails(now));
  return said;
}

void Learner::prepare_fork() {
  while (!lock_.try_lock()) std::this_thread::yield();
}

void Learner::after_fork() {
  lock_.unlock();
}

}  // namespace gapless::learn
