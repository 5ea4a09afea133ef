// SPDX-License-Identifier: Apache-2.0
#include "recorded_model.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>

namespace gapless::learn {

RecordedModel::RecordedModel(const std::string& folder, const std::string& name)
    : trace_(tools::read_trace(folder + "/" + name + ".trace.gz")) {
  std::vector<std::uint32_t> in_slots(trace_.slots, 0);
  std::uint64_t live = 0;
  for (std::size_t i = 0; i < trace_.ops.size(); i++) {
    const tools::Op& op = trace_.ops[i];
    if (op.kind == tools::OpKind::allocate) {
      in_slots[op.id] = units_of(op.bytes).count();
      live += Units(in_slots[op.id]).bytes();
    } else if (op.kind == tools::OpKind::free) {
      live -= Units(in_slots[op.id]).bytes();
      in_slots[op.id] = 0;
    } else if (op.kind == tools::OpKind::step_mark) {
      const std::string_view label = trace_.label(op);
      std::uint64_t units = 0;
      if (std::from_chars(label.data(), label.data() + label.size(), units).ec == std::errc())
        marks_[units] = Mark{i + 1, live, in_slots};
    }
  }
  const Mark& first = marks_.begin()->second;
  std::set<std::uint32_t> sizes(first.in_slots.begin(), first.in_slots.end());
  sizes.erase(0);
  lasting_ = std::make_shared<const std::vector<std::uint32_t>>(sizes.begin(), sizes.end());
  std::ifstream peaks(folder + "/peaks.tsv");
  std::string model;
  std::uint64_t units = 0, bytes = 0;
  while (peaks >> model >> units >> bytes)
    if (model == name) peaks_[units] = bytes;
}

RecordedStep RecordedModel::step(std::uint64_t units, std::uint64_t capacity) const {
  const Mark& mark = marks_.at(units);
  std::vector<Life> entries;
  std::vector<engine::PhaseMark> phases;
  constexpr std::uint32_t kNone = ~std::uint32_t{0};
  std::vector<std::uint32_t> entry_of(mark.in_slots.size(), kNone);
  engine::StepView view{};
  view.label = "train";
  view.units = units;
  view.live_at_start = view.live_now = view.peak = mark.live;
  view.whole = true;
  view.lasting_sizes = lasting_;
  view.resident_threads = 108 * 2048;  // of the simulated device that the steps were recorded on
  std::uint32_t time = 0;
  for (std::size_t i = mark.begin; i < trace_.ops.size() && !view.failed; i++) {
    const tools::Op& op = trace_.ops[i];
    if (op.kind == tools::OpKind::step_mark) break;
    if (op.kind == tools::OpKind::phase_mark) {
      phases.push_back(engine::PhaseMark{time, {}});
      std::strcpy(phases.back().label, trace_.label(op) == "opt" ? "optimizer" : "");
    } else if (op.kind == tools::OpKind::allocate) {
      const std::uint32_t size = units_of(op.bytes).count();
      view.failed = view.live_now + Units(size).bytes() > capacity;
      if (view.failed) break;
      view.live_now += Units(size).bytes();
      view.peak = std::max(view.peak, view.live_now);
      entry_of[op.id] = static_cast<std::uint32_t>(entries.size());
      entries.push_back(Life{size, time++, Life::kAlive, 0});
    } else if (op.kind == tools::OpKind::free) {
      std::uint32_t& at = entry_of[op.id];
      if (at == kNone) entries.push_back(Life{mark.in_slots[op.id], Life::kOlder, Life::kAlive, 0});
      Life& life = at == kNone ? entries.back() : entries[at];
      life.death = time++;
      view.live_now -= Units(life.units).bytes();
      at = kNone;
    }
  }
  view.entries = entries;
  view.phases = phases;
  view.events = time;
  return record(view);
}

}  // namespace gapless::learn
