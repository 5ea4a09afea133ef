// SPDX-License-Identifier: Apache-2.0
// The live bytes of a step as a function of its batch: a recorded step, replayed with the size of each allocation as a
// line in the units. One line through the peaks of steps would be wrong by half, since the peak is a maximum of many
// lines: it moves from the optimizer, which does not grow, to the backward pass, which does.
#pragma once

#include <cstdint>
#include <vector>

#include "learn/recorded_step.hpp"
#include "learn/row_sums.hpp"

namespace gapless::learn {

// Room for what the model does not know of: this share of the growth that was not measured, and at most so many bytes.
struct Aside {
  double share;
  double most;
};

class StepModel {
 public:
  // From two whole steps of different units, the smaller first. What has no counterpart stays as it is in `large`.
  static StepModel between(const RecordedStep& small, const RecordedStep& large);
  // From a whole step and an attempt with more units that failed on the way: what came before the failure has its
  // lines; the rest follows what has the same size, and grows in proportion where nothing tells.
  static StepModel from_attempt(const RecordedStep& good, const RecordedStep& failed);
  // From a whole step and an attempt of another shape (longer texts) that failed with no more units than ran: what came
  // before the failure has its size there, and grows with the units where it has not that of the good step; the rest as
  // in from_attempt, in proportion to what grew.
  static StepModel of_shape(const RecordedStep& good, const RecordedStep& failed);
  // From one step alone: what nothing speaks against grows in proportion. A bound from above.
  static StepModel from_one(const RecordedStep& good);

  // The live peak, in bytes, of a step of `units` that starts with `live_at_start` bytes. `once`: what the recorded
  // step added for good is not made again by one that starts after it. `aside` is added.
  std::uint64_t peak(std::uint64_t units, std::uint64_t live_at_start, bool once = true,
                     Aside aside = {0.0, 0.0}) const;
  // The share of the bytes whose line was measured.
  double measured() const { return measured_; }

 private:
  struct Line {
    double at_origin = 0.0;  // bytes at `origin_` units
    double slope = 0.0;      // bytes a unit
    bool measured = true;    // false: what it grows by is inferred
    bool bound = false;      // from above: no smaller for fewer units
  };
  explicit StepModel(const RecordedStep& timeline);
  void set_fixed(std::size_t life) { lines_[life] = Line{bytes_[life], 0.0, true, false}; }
  // Nothing is known: as if it grew with the batch, and did not shrink with it.
  void set_bound(std::size_t life) { lines_[life] = Line{bytes_[life], bytes_[life] / origin_, false, true}; }
  // In proportion to the units, with `bytes` at `units`.
  void set_proportional(std::size_t life, double bytes, double units, bool measured);
  // Through the life's own size and `bytes` at `units`.
  void set_line(std::size_t life, double bytes, double units, bool measured = true);
  // The lives that the failed attempt did not come to (`there`: what it had of each, or kNotSeen): fixed by what the
  // step says of them, grown as their like, else `unknown`.
  template <typename Grows, typename Unknown>
  void set_unseen(const RecordedStep& good, const std::vector<std::uint32_t>& there, Grows grows, Unknown unknown);
  void note_measured(double bytes);
  // Once all lines are known: the buffers of sums over rows, which are none.
  void find_sums(const RecordedStep& timeline);
  double bytes_of(std::uint32_t life, double units) const;
  double buffer_of(const RowSum& sum, double units) const;

  double origin_;  // the units of the timeline
  std::uint64_t live_at_end_;
  std::uint64_t growth_;
  std::vector<double> bytes_;
  std::vector<Line> lines_;
  std::vector<Event> events_;
  std::vector<char> grown_;  // lives that are there from the start, once the step that made them is over
  std::vector<RowSum> sums_;
  std::vector<std::uint32_t> sum_of_;  // [life]: it is the buffer of that sum, or, where that had none, its result
  SumBuffers buffers_;
  double measured_ = 0.0;
};

}  // namespace gapless::learn
