// SPDX-License-Identifier: Apache-2.0
// A replay as a picture: live and reserved bytes over time, and who is where in the device's addresses.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "tools/replay/driver_watch.hpp"
#include "tools/replay/result.hpp"
#include "tools/trace.hpp"

namespace gapless::tools {

class PictureRecorder {
 public:
  explicit PictureRecorder(std::size_t events);

  void sample(std::size_t event, std::uint64_t live_bytes, std::uint64_t reserved_bytes);
  void allocated(std::size_t event, void* pointer, std::uint64_t bytes);
  void freed(std::size_t event, void* pointer);

  // An HTML fragment for `page_of`.
  std::string render(const ReplayResult& result, const std::vector<MappingChange>& mappings,
                     const std::vector<Step>& steps) const;

 private:
  struct Change {
    std::size_t event;
    std::uint64_t address;
    std::uint64_t bytes;
    bool live;
  };

  std::string curves(const ReplayResult& result, const std::vector<Step>& steps) const;
  std::string address_space(const std::vector<MappingChange>& mappings) const;

  std::size_t events_;
  std::vector<Sample> samples_;  // the highest values of each span of events
  std::vector<Change> changes_;
  std::unordered_map<std::uint64_t, std::uint64_t> live_;
};

// A self-contained page of the fragments: no script, no other file; fits a phone and prints on paper.
std::string page_of(const std::vector<std::string>& fragments);

}  // namespace gapless::tools
