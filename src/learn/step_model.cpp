// SPDX-License-Identifier: Apache-2.0
#include "learn/step_model.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "learn/alignment.hpp"
#include "learn/same_place.hpp"

namespace gapless::learn {

namespace {

constexpr double kUnit = static_cast<double>(kUnitBytes);

// Whether copies of parameters in another precision were seen to stay as they are: more of them than grew. The forward
// pass makes them first.
bool makes_copies(const RecordedStep& good, const std::vector<std::uint32_t>& there) {
  int stay = 0;
  for (std::size_t i = 0; i < there.size(); i++)
    if (good.fixed[i] == Fixed::by_half && there[i] != kNotSeen) stay += there[i] == good.lives[i].units ? 1 : -1;
  return stay > 0;
}

double total(const std::vector<double>& bytes) {
  double sum = 0.0;
  for (const double each : bytes) sum += each;
  return sum;
}

}  // namespace

StepModel::StepModel(const RecordedStep& timeline)
    : origin_(static_cast<double>(timeline.units)),
      live_at_end_(timeline.live_at_end),
      growth_(timeline.growth()),
      lines_(timeline.lives.size()),
      events_(in_order(timeline)),
      grown_(timeline.lives.size(), 0),
      sum_of_(timeline.lives.size(), kNoLife) {
  bytes_.reserve(timeline.lives.size());
  for (const Life& life : timeline.lives) bytes_.push_back(static_cast<double>(life.units) * kUnit);
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

void StepModel::set_proportional(std::size_t life, double bytes, double units, bool measured) {
  lines_[life] = Line{bytes * origin_ / units, bytes / units, measured, false};
}

void StepModel::note_measured(double bytes) {
  const double all = total(bytes_);
  measured_ = all > 0.0 ? bytes / all : 1.0;
}

void StepModel::find_sums(const RecordedStep& timeline) {
  sums_ = row_sums(timeline);
  std::vector<char> grows(lines_.size());
  for (std::size_t i = 0; i < lines_.size(); i++) grows[i] = lines_[i].slope > 0.0 ? 1 : 0;
  find_inputs(timeline, grows, sums_);
  buffers_ = SumBuffers(timeline, sums_);
  for (std::uint32_t i = 0; i < sums_.size(); i++)
    sum_of_[sums_[i].buffer != kNoLife ? sums_[i].buffer : sums_[i].result] = i;
}

StepModel StepModel::between(const RecordedStep& small, const RecordedStep& large) {
  StepModel model(large);
  const std::vector<std::uint32_t> match = align(small, large);
  double measured = 0.0;
  for (std::size_t i = 0; i < match.size(); i++) {
    // What is older than the step has the size that it has.
    if (match[i] == kNoLife || is_older(large.lives[i])) {
      model.set_fixed(i);
      continue;
    }
    model.set_line(i, small.lives[match[i]].units * kUnit, static_cast<double>(small.units));
    measured += model.bytes_[i];
  }
  model.note_measured(measured);
  model.find_sums(large);
  return model;
}

template <typename Grows, typename Unknown>
void StepModel::set_unseen(const RecordedStep& good, const std::vector<std::uint32_t>& there, Grows grows,
                           Unknown unknown) {
  const SamePlace same(good, there);
  const bool copies = makes_copies(good, there);
  for (std::uint32_t i = 0; i < good.lives.size(); i++) {
    if (there[i] != kNotSeen) continue;
    const std::optional<Likely> likely = same.of(i);
    // An activation may have the size of a parameter: what was seen goes before what the size says.
    if (good.fixed[i] == Fixed::by_time)
      set_fixed(i);
    else if (likely && likely->grows)
      grows(i, likely->units * kUnit);
    else if (likely || good.fixed[i] == Fixed::by_size || (good.fixed[i] == Fixed::by_half && copies))
      set_fixed(i);
    else
      unknown(i);
  }
}

StepModel StepModel::from_attempt(const RecordedStep& good, const RecordedStep& failed) {
  StepModel model(good);
  const std::vector<std::uint32_t> match = align(good, failed);
  std::vector<std::uint32_t> there(good.lives.size(), kNotSeen);
  double measured = 0.0;
  for (std::size_t j = 0; j < match.size(); j++) {
    if (match[j] == kNoLife || is_older(failed.lives[j])) continue;
    const std::size_t i = match[j];
    there[i] = failed.lives[j].units;
    measured += model.bytes_[i];
    model.set_line(i, there[i] * kUnit, static_cast<double>(failed.units));
  }
  const auto grows = [&](std::size_t i, double bytes) {
    model.set_line(i, bytes, static_cast<double>(failed.units), false);
  };
  model.set_unseen(good, there, grows, [&](std::size_t i) { model.set_bound(i); });
  model.note_measured(measured);
  model.find_sums(good);
  return model;
}

StepModel StepModel::of_shape(const RecordedStep& good, const RecordedStep& failed) {
  StepModel model(good);
  const auto units = static_cast<double>(failed.units);
  const std::vector<std::uint32_t> match = align_shapes(good, failed);
  std::vector<std::uint32_t> there(good.lives.size(), kNotSeen);
  double measured = 0.0, grown = 0.0, grown_from = 0.0;
  for (std::size_t j = 0; j < match.size(); j++) {
    if (match[j] == kNoLife || is_older(failed.lives[j])) continue;
    const std::size_t i = match[j];
    there[i] = failed.lives[j].units;
    measured += model.bytes_[i];
    if (there[i] == good.lives[i].units) {
      model.set_fixed(i);
      continue;
    }
    model.set_proportional(i, there[i] * kUnit, units, true);
    grown += there[i] * kUnit;
    grown_from += model.bytes_[i];
  }
  const double times = grown_from > 0.0 ? grown / grown_from : 1.0;
  const auto grows = [&](std::size_t i, double bytes) { model.set_proportional(i, bytes, units, false); };
  model.set_unseen(good, there, grows, [&](std::size_t i) { grows(i, model.bytes_[i] * times); });
  model.note_measured(measured);
  model.find_sums(good);
  return model;
}

StepModel StepModel::from_one(const RecordedStep& good) {
  StepModel model(good);
  for (std::size_t i = 0; i < good.lives.size(); i++)
    if (good.fixed[i] != Fixed::no)
      model.set_fixed(i);
    else
      model.set_bound(i);
  model.find_sums(good);
  return model;
}

double StepModel::bytes_of(std::uint32_t life, double units) const {
  if (sum_of_[life] != kNoLife && sums_[sum_of_[life]].buffer == life && units > origin_)
    return buffer_of(sums_[sum_of_[life]], units);
  const Line& line = lines_[life];
  const double away = units - origin_;
  const double exact = std::max(line.at_origin + line.slope * (line.bound ? std::max(away, 0.0) : away), 0.0);
  return std::max(std::ceil(exact / kUnit - 1e-6), 1.0) * kUnit;
}

double StepModel::buffer_of(const RowSum& sum, double units) const {
  return buffers_.of(sum, bytes_of(sum.input, units), bytes_[sum.result]);
}

std::uint64_t StepModel::peak(std::uint64_t units, std::uint64_t live_at_start, bool once, Aside aside) const {
  const auto batch = static_cast<double>(units);
  // Up to the batch that was recorded, the step itself shows which sums take a buffer.
  const bool more = batch > origin_;
  const bool grown = once && growth_ > 0 && live_at_start >= live_at_end_;
  double live = static_cast<double>(live_at_start);
  double peak = live;
  double unmeasured = 0.0;
  for (const Event& event : events_) {
    if (grown && grown_[event.life] != 0) continue;
    const double bytes = bytes_of(event.life, batch);
    const double grown_by = lines_[event.life].measured ? 0.0 : std::max(bytes - bytes_[event.life], 0.0);
    live += event.birth ? bytes : -bytes;
    unmeasured += event.birth ? grown_by : -grown_by;
    const std::uint32_t sum = event.birth && more ? sum_of_[event.life] : kNoLife;
    const double buffer = sum != kNoLife && sums_[sum].buffer == kNoLife ? buffer_of(sums_[sum], batch) : 0.0;
    peak = std::max(peak, live + buffer + std::min(aside.share * unmeasured, aside.most));
  }
  return static_cast<std::uint64_t>(std::max(peak, 0.0));
}

}  // namespace gapless::learn
