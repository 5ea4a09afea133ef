// SPDX-License-Identifier: Apache-2.0
#include "engine/kept_addresses.hpp"

#include <algorithm>
#include <cstring>

#include "heap/heap.hpp"

namespace gapless::engine {

KeptAddresses::Step& KeptAddresses::step_of(const char* label) {
  Step* oldest = &steps_.front();
  for (Step& step : steps_) {
    if (step.seen != 0 && std::strncmp(step.label, label, sizeof step.label) == 0) return step;
    if (step.seen < oldest->seen) oldest = &step;
  }
  oldest->born.clear();
  std::memset(oldest->label, 0, sizeof oldest->label);
  std::strncpy(oldest->label, label, sizeof oldest->label - 1);
  return *oldest;
}

KeptAddresses::Share KeptAddresses::step_ended(const char* label, std::span<const JournalEntry> entries,
                                               std::span<const std::uint32_t> offsets) {
  std::vector<Born> born;
  for (std::size_t i = 0; i < entries.size(); i++) {
    const JournalEntry& entry = entries[i];
    if (entry.birth != JournalEntry::kOlder && Units(entry.units) > heap::kLargestSmall)
      born.push_back(Born{entry.units, entry.stream(), offsets[i]});
  }
  std::stable_sort(born.begin(), born.end(), [](const Born& a, const Born& b) { return a.units < b.units; });

  Step& step = step_of(label);
  Share share;
  auto before = step.born.begin();
  for (auto now = born.begin(); now != born.end() && before != step.born.end();) {
    if (now->units != before->units) {
      ++(now->units < before->units ? now : before);
      continue;
    }
    share.of++;
    share.kept += now->offset == before->offset && now->stream == before->stream ? 1 : 0;
    ++now;
    ++before;
  }
  step.born = std::move(born);
  step.seen = ++clock_;
  return share;
}

}  // namespace gapless::engine
