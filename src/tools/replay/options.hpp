// SPDX-License-Identifier: Apache-2.0
// gapless-replay's command line.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace gapless::tools {

enum class AllocatorKind { gapless, native, expandable };
const char* name_of(AllocatorKind kind);

// Device sizes tried by --min-fit, as multiples of the live peak.
struct FitGrid {
  double low = 1.0;
  double high = 1.05;
  double step = 0.0005;
};

struct Options {
  std::vector<AllocatorKind> allocators = {AllocatorKind::gapless};
  std::vector<std::string> traces;
  std::uint64_t size = std::uint64_t{1} << 40;  // 1 TiB: no trace here is near it
  std::string completion = "eager";
  std::uint64_t seed = 1;
  bool strict = false;
  bool creator = false;
  bool json = false;
  bool min_fit = false;
  FitGrid grid;
  std::string first;  // "" (whole trace), "N" events or "P%" of them
  int repeat = 0;     // the second half of the steps this often more, in place of the last
  std::string allocator_options;
  std::string log_path;   // "": none
  std::string html_path;  // "": none
  int timing_runs = 3;
  int jobs = 1;
  bool help = false;
};

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws UsageError.
Options parse_options(const std::vector<std::string>& arguments);
const char* usage_text();

// "80GiB", "1TiB", "500000000": a number with an optional K, M, G or T (powers of 1024), "iB" or "B" after it ignored.
std::uint64_t parse_bytes(const std::string& text);

}  // namespace gapless::tools
