// SPDX-License-Identifier: Apache-2.0
#include "learn/step_model.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "learn/alignment.hpp"

namespace gapless::learn {

namespace {

constexpr double kUnit = static_cast<double>(kUnitBytes);

double total(const std::vector<double>& bytes) {
  double sum = 0.0;
  for (const double each : bytes) sum += each;
  return sum;
}

// How a size grows, as seen with other lives of that size.
struct Votes {
  std::uint32_t fixed = 0;
  std::uint32_t growing = 0;
  std::uint32_t larger_units = 0;  // of one that grew

  // Bytes, in the larger step, of one that had `units` in the smaller.
  double expected(std::uint32_t units) const {
    const double share = static_cast<double>(growing) / static_cast<double>(fixed + growing);
    return (units + share * (static_cast<double>(larger_units) - units)) * kUnit;
  }
};

}  // namespace

StepModel::StepModel(const RecordedStep& timeline)
    : origin_(static_cast<double>(timeline.units)),
      live_at_end_(timeline.live_at_end),
      growth_(timeline.growth()),
      lines_(timeline.lives.size()),
      grown_(timeline.lives.size(), 0) {
  std::vector<Event> at(timeline.events, Event{~0u, false});
  bytes_.reserve(timeline.lives.size());
  for (std::uint32_t i = 0; i < timeline.lives.size(); i++) {
    const Life& life = timeline.lives[i];
    bytes_.push_back(static_cast<double>(life.units) * kUnit);
    if (!is_older(life)) at[life.birth] = Event{i, true};
    if (!survives(life)) at[life.death] = Event{i, false};
  }
  for (const Event& event : at)
    if (event.life != ~0u) events_.push_back(event);
  // What the step added for good was born last among what outlived it: the optimizer's state comes after gradients.
  double left = static_cast<double>(growth_);
  for (std::size_t i = timeline.lives.size(); i-- > 0 && left > 0.0;)
    if (survives(timeline.lives[i]) && bytes_[i] <= left) {
      grown_[i] = 1;
      left -= bytes_[i];
    }
}

void StepModel::set_line(std::size_t life, double bytes, double units, bool measured) {
  const double here = bytes_[life];
  if (here == bytes) return set_fixed(life);
  // A size in proportion to the batch, as far as rounding lets one see: the larger of the two is rounded least.
  const bool this_is_larger = origin_ > units;
  const double large = this_is_larger ? here : bytes;
  const double large_units = this_is_larger ? origin_ : units;
  const double small = this_is_larger ? bytes : here;
  const double small_units = this_is_larger ? units : origin_;
  if (std::abs(large * small_units / large_units - small) <= kUnit) {
    lines_[life] = Line{large * origin_ / large_units, large / large_units, measured, false};
    return;
  }
  lines_[life] = Line{here, (large - small) / (large_units - small_units), measured, false};
}

void StepModel::note_measured(double bytes) {
  const double all = total(bytes_);
  measured_ = all > 0.0 ? bytes / all : 1.0;
}

StepModel StepModel::between(const RecordedStep& small, const RecordedStep& large) {
  StepModel model(large);
  const std::vector<std::uint32_t> match = align(small, large);
  double measured = 0.0;
  for (std::size_t i = 0; i < match.size(); i++) {
    // What is older than the step has the size that it has.
    if (match[i] == kUnmatched || is_older(large.lives[i])) {
      model.set_fixed(i);
      continue;
    }
    model.set_line(i, small.lives[match[i]].units * kUnit, static_cast<double>(small.units));
    measured += model.bytes_[i];
  }
  model.note_measured(measured);
  return model;
}

StepModel StepModel::from_attempt(const RecordedStep& good, const RecordedStep& failed) {
  StepModel model(good);
  const std::vector<std::uint32_t> match = align(good, failed);
  std::vector<char> known(good.lives.size(), 0);
  std::unordered_map<std::uint32_t, Votes> by_size;
  double measured = 0.0;
  for (std::size_t j = 0; j < match.size(); j++) {
    if (match[j] == kUnmatched || is_older(failed.lives[j])) continue;
    const std::size_t i = match[j];
    const std::uint32_t units = good.lives[i].units;
    const std::uint32_t there = failed.lives[j].units;
    known[i] = 1;
    measured += model.bytes_[i];
    model.set_line(i, there * kUnit, static_cast<double>(failed.units));
    Votes& votes = by_size[units];
    (there == units ? votes.fixed : votes.growing)++;
    if (there != units) votes.larger_units = there;
  }
  for (std::size_t i = 0; i < good.lives.size(); i++) {
    if (known[i] != 0) continue;
    const auto found = by_size.find(good.lives[i].units);
    const bool seen = found != by_size.end();
    // An activation may have the size of a parameter: what was seen goes before what the size says. Where both kinds
    // were seen, each of many takes its share of the growth, so that their sum is right.
    if (good.fixed[i] == Fixed::by_time)
      model.set_fixed(i);
    else if (seen && found->second.growing > 0)
      model.set_line(i, found->second.expected(good.lives[i].units), static_cast<double>(failed.units), false);
    else if (seen || good.fixed[i] == Fixed::by_size)
      model.set_fixed(i);
    else
      model.set_bound(i);
  }
  model.note_measured(measured);
  return model;
}

StepModel StepModel::from_one(const RecordedStep& good) {
  StepModel model(good);
  for (std::size_t i = 0; i < good.lives.size(); i++)
    if (good.fixed[i] != Fixed::no)
      model.set_fixed(i);
    else
      model.set_bound(i);
  return model;
}

std::uint64_t StepModel::peak(std::uint64_t units, std::uint64_t live_at_start, bool once, Aside aside) const {
  const double away = static_cast<double>(units) - origin_;
  const bool grown = once && growth_ > 0 && live_at_start >= live_at_end_;
  double live = static_cast<double>(live_at_start);
  double peak = live;
  double unmeasured = 0.0;
  for (const Event& event : events_) {
    if (grown && grown_[event.life] != 0) continue;
    const Line& line = lines_[event.life];
    const double exact = std::max(line.at_origin + line.slope * (line.bound ? std::max(away, 0.0) : away), 0.0);
    const double bytes = std::max(std::ceil(exact / kUnit - 1e-6), 1.0) * kUnit;
    const double grown_by = line.measured ? 0.0 : std::max(bytes - bytes_[event.life], 0.0);
    live += event.birth ? bytes : -bytes;
    unmeasured += event.birth ? grown_by : -grown_by;
    peak = std::max(peak, live + std::min(aside.share * unmeasured, aside.most));
  }
  return static_cast<std::uint64_t>(std::max(peak, 0.0));
}

}  // namespace gapless::learn
