// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/kept_addresses.hpp"

#include <utility>

namespace gapless::tools {

void KeptAddresses::begin(std::uint16_t label) {
  end();
  open_ = true;
  label_ = label;
}

void KeptAddresses::end() {
  if (!open_) return;
  open_ = false;
  Share share;
  if (const auto last = last_.find(label_); last != last_.end()) {
    for (const auto& [size, addresses] : now_) {
      share.of += addresses.size();
      const auto before = last->second.find(size);
      if (before == last->second.end()) continue;
      for (std::size_t i = 0; i < addresses.size() && i < before->second.size(); ++i)
        share.kept += addresses[i] == before->second[i] ? 1U : 0U;
    }
  }
  steps_.push_back(share);
  last_[label_] = std::exchange(now_, {});
}

void KeptAddresses::allocated(std::uint64_t rounded_bytes, const void* address) {
  if (open_ && rounded_bytes > kLargerThan) now_[rounded_bytes].push_back(address);
}

}  // namespace gapless::tools
