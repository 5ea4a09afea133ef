// SPDX-License-Identifier: Apache-2.0
#include "learn/row_sums.hpp"

#include <algorithm>
#include <cmath>
#include <map>

namespace gapless::learn {

namespace {

constexpr double kUnit = static_cast<double>(kUnitBytes);
constexpr double kFewestRows = 1024.0;
constexpr double kRowsOfPart = 64.0;
// A block of 128 threads has a part of 64 KiB.
constexpr double kBytesOfThread = 64.0 * 1024 / 128;
// A buffer that is less of its input than that is not one of many rows.
constexpr double kNarrowest = 1.9;

// Bytes of an input whose rows were rounded up to whole parts.
double whole_parts(double input, double result) {
  const double rows = input / result;
  return std::ceil(rows / kRowsOfPart - 1e-6) * kRowsOfPart * result;
}

// Counters of the blocks that still work: 4 bytes for each 128 columns.
constexpr std::uint32_t kMostCounterUnits = 4;

// A buffer at `t`: born, a counter born, the counter dead, the buffer dead.
bool is_buffer(const RecordedStep& step, const std::vector<Event>& events, std::size_t t) {
  if (t + 3 >= events.size() || !events[t].birth || !events[t + 1].birth) return false;
  const std::uint32_t buffer = events[t].life, counter = events[t + 1].life;
  const Event& third = events[t + 2];
  const Event& fourth = events[t + 3];
  return !third.birth && third.life == counter && !fourth.birth && fourth.life == buffer &&
         step.lives[counter].units <= kMostCounterUnits && step.lives[buffer].units >= kTellingUnits;
}

}  // namespace

std::vector<RowSum> row_sums(const RecordedStep& step) {
  const std::vector<Event> events = in_order(step);
  std::vector<RowSum> sums;
  std::array<std::uint32_t, 8> large{};  // births, the last one first
  large.fill(kNoLife);
  for (std::size_t t = 0; t + 1 < events.size(); t++) {
    const Event& event = events[t];
    const Event& next = events[t + 1];
    if (!event.birth) continue;
    const Life& life = step.lives[event.life];
    if (life.units >= kTellingUnits) {
      std::shift_right(large.begin(), large.end(), 1);
      large.front() = event.life;
      continue;
    }
    if (t == 0 || !events[t - 1].birth || step.lives[events[t - 1].life].units < kTellingUnits) continue;
    const bool buffered = is_buffer(step, events, t + 1);
    if (!buffered && (next.birth || next.life == event.life)) continue;
    RowSum sum;
    sum.result = event.life;
    if (buffered) sum.buffer = next.life;
    std::size_t found = 0;
    for (const std::uint32_t each : large)
      if (each != kNoLife && step.lives[each].death > life.birth && found < sum.before.size())
        sum.before[found++] = each;
    sums.push_back(sum);
    if (buffered) t += 4;
  }
  return sums;
}

void find_inputs(const RecordedStep& step, const std::vector<char>& grows, std::vector<RowSum>& sums) {
  const auto rows = [&](const RowSum& sum, std::uint32_t input) {
    return static_cast<double>(step.lives[input].units) / static_cast<double>(step.lives[sum.result].units);
  };
  std::map<std::int64_t, std::uint32_t> votes;
  for (const RowSum& sum : sums)
    for (const std::uint32_t each : sum.before)
      if (each != kNoLife && grows[each] != 0) votes[std::llround(rows(sum, each))]++;
  std::int64_t common = 0;
  for (const auto& [count, number] : votes)
    if (common == 0 || number >= votes[common]) common = count;
  for (RowSum& sum : sums)
    for (const std::uint32_t each : sum.before) {
      if (each == kNoLife || grows[each] == 0) continue;
      if (std::llround(rows(sum, each)) == common) {
        sum.input = each;
        break;
      }
      if (sum.input == kNoLife || step.lives[each].units > step.lives[sum.input].units) sum.input = each;
    }
  // One of enough rows that took no buffer is not a sum: something else left the same in the journal. A result of one
  // unit may be of fewer columns than fill it, and then of fewer rows than it seems.
  std::erase_if(sums, [&](const RowSum& sum) {
    return sum.input == kNoLife ||
           (sum.buffer == kNoLife && step.lives[sum.result].units > 1 && rows(sum, sum.input) >= kFewestRows);
  });
}

SumBuffers::SumBuffers(const RecordedStep& step, std::vector<RowSum>& sums)
    : most_(static_cast<double>(step.resident_threads) * kBytesOfThread) {
  double times = 0.0;
  for (RowSum& sum : sums) {
    if (sum.buffer == kNoLife) continue;
    const double bytes = step.lives[sum.buffer].units * kUnit;
    // Of one that has all it can have nothing is learnt.
    if (most_ != 0.0 && bytes >= most_) continue;
    const double input = step.lives[sum.input].units * kUnit;
    sum.times = bytes / whole_parts(input, step.lives[sum.result].units * kUnit);
    times = std::max(times, sum.times);
  }
  // What was seen tells how wide the values are.
  if (times >= kNarrowest && times < times_) times_ = times;
}

double SumBuffers::of(const RowSum& sum, double input, double result) const {
  // The rows of a result that rounding to 512 bytes hides are not known.
  if (sum.buffer == kNoLife && result > kUnit && input / result < kFewestRows) return 0.0;
  const double line = (sum.times > 0.0 ? sum.times : times_) * whole_parts(input, result);
  // Once each thread has had 256 values the parts follow the rows again, a sixteenth as fast.
  const double bytes = most_ == 0.0 ? line : std::max(std::min(line, most_), line / 16.0);
  return std::ceil(bytes / kUnit) * kUnit;
}

}  // namespace gapless::learn
