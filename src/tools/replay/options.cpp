// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/options.hpp"

#include <cmath>
#include <cstdlib>
#include <sstream>

namespace gapless::tools {
namespace {

double parse_real(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value)) {
    throw UsageError(option + ": \"" + text + "\" is not a number");
  }
  return value;
}

std::uint64_t parse_count(const std::string& option, const std::string& text) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || text.size() > 19) throw UsageError(option + ": \"" + text + "\" is not a count");
  return std::stoull(text);
}

std::vector<AllocatorKind> parse_allocators(const std::string& text) {
  std::vector<AllocatorKind> kinds;
  std::stringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    bool known = false;
    for (const auto kind : {AllocatorKind::gapless, AllocatorKind::native, AllocatorKind::expandable}) {
      if (word == name_of(kind)) {
        kinds.push_back(kind);
        known = true;
      }
    }
    if (!known) throw UsageError("--allocator: \"" + word + "\" is none of gapless, native, expandable");
  }
  if (kinds.empty()) throw UsageError("--allocator needs a name");
  return kinds;
}

// "LOW:HIGH:STEP"
FitGrid parse_grid(const std::string& text) {
  std::vector<double> parts;
  std::stringstream words(text);
  for (std::string word; std::getline(words, word, ':');) parts.push_back(parse_real("--min-fit", word));
  if (parts.size() != 3 || parts[0] <= 0 || parts[1] < parts[0] || parts[2] <= 0) {
    throw UsageError("--min-fit: \"" + text + "\" is not LOW:HIGH:STEP, multiples of the live peak");
  }
  return {parts[0], parts[1], parts[2]};
}

int parse_small(const std::string& option, const std::string& text, std::uint64_t low, std::uint64_t high) {
  const auto value = parse_count(option, text);
  if (value < low || value > high) {
    throw UsageError(option + ": " + text + " is not in " + std::to_string(low) + ".." + std::to_string(high));
  }
  return static_cast<int>(value);
}

void check_first(const std::string& text) {
  if (text.empty() || text.back() != '%') {
    parse_count("--first", text);
    return;
  }
  const double percent = parse_real("--first", text.substr(0, text.size() - 1));
  if (percent <= 0 || percent > 100) throw UsageError("--first: \"" + text + "\" is not in 0%..100%");
}

}  // namespace

const char* name_of(AllocatorKind kind) {
  switch (kind) {
    case AllocatorKind::gapless:
      return "gapless";
    case AllocatorKind::native:
      return "native";
    case AllocatorKind::expandable:
      return "expandable";
  }
  return "?";
}

std::uint64_t parse_bytes(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  std::string unit = end;
  double factor = 1;
  const auto power = std::string("KMGT").find(unit.empty() ? '?' : unit[0]);
  if (power != std::string::npos) {
    factor = std::pow(1024.0, static_cast<double>(power + 1));
    unit.erase(0, 1);
  }
  const bool clean = unit.empty() || unit == "B" || (factor > 1 && unit == "iB");
  if (end == text.c_str() || !clean || !(value >= 0) || value * factor >= 0x1p63) {
    throw UsageError("\"" + text + "\" is not a size such as 80GiB");
  }
  return static_cast<std::uint64_t>(std::llround(value * factor));
}

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    if (name == "--") {
      options.traces.insert(options.traces.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                            arguments.end());
      break;
    }
    if (name.size() < 2 || name[0] != '-') {
      options.traces.push_back(name);
      continue;
    }
    const auto equals = name.find('=');
    const bool inline_value = equals != std::string::npos;
    const std::string given = inline_value ? name.substr(equals + 1) : "";
    name = name.substr(0, equals);
    const auto value = [&] {
      if (inline_value) return given;
      if (i + 1 == arguments.size()) throw UsageError(name + " needs a value");
      return arguments[++i];
    };
    const auto flag = [&] {
      if (inline_value) throw UsageError(name + " takes no value");
      return true;
    };
    if (name == "--allocator") {
      options.allocators = parse_allocators(value());
    } else if (name == "--size") {
      options.size = parse_bytes(value());
    } else if (name == "--completion") {
      options.completion = value();
    } else if (name == "--seed") {
      options.seed = parse_count(name, value());
    } else if (name == "--strict") {
      options.strict = flag();
    } else if (name == "--creator") {
      options.creator = flag();
    } else if (name == "--json") {
      options.json = flag();
    } else if (name == "--min-fit") {
      options.min_fit = true;
      if (inline_value) options.grid = parse_grid(given);
    } else if (name == "--first") {
      options.first = value();
      check_first(options.first);
    } else if (name == "--repeat") {
      options.repeat = parse_small(name, value(), 0, 10000);
    } else if (name == "--options") {
      options.allocator_options = value();
    } else if (name == "--log") {
      options.log_path = value();
    } else if (name == "--html") {
      options.html_path = value();
    } else if (name == "--timing-runs") {
      options.timing_runs = parse_small(name, value(), 0, 1000);
    } else if (name == "--jobs") {
      options.jobs = parse_small(name, value(), 1, 256);
    } else if (name == "--help" || name == "-h") {
      options.help = flag();
    } else {
      throw UsageError("unknown option " + name);
    }
  }
  if (!options.help && options.traces.empty()) throw UsageError("no trace given");
  if (!options.log_path.empty() && (options.traces.size() > 1 || options.allocators.size() > 1)) {
    throw UsageError("--log takes one trace and one allocator");
  }
  return options;
}

const char* usage_text() {
  return R"(usage: gapless-replay [OPTION...] TRACE...
Replays allocation traces into an allocator on the simulated device and prints one line each.

  --allocator A[,A...]  gapless (default), native or expandable: PyTorch's own allocator, as the wheel has it
  --options TEXT        the allocator's options: the grammar of GAPLESS_CONF, or of PYTORCH_CUDA_ALLOC_CONF
  --size BYTES          physical memory of the device (80GiB, 1TiB; default 1TiB: ample)
  --completion C        when device work completes: eager (default), lazy, random[:SEED], lag:N
  --seed N              of the device's random decisions (default 1)
  --strict              each block is written when allocated, read before it is freed; broken rules are reported
  --creator             a thread creates handles beside the program's (gapless only), in modelled time
  --first N | P%        only the first N events, or P percent of them
  --repeat N            the second half of the steps N times more, in place of the last step
  --json                one JSON object a line
  --min-fit[=LOW:HIGH:STEP]
                        the smallest device, as a multiple of the live peak, from which on every larger one of the grid
                        completes (default grid 1.000:1.050:0.0005)
  --log FILE            every driver call, one line each; the same command writes the same bytes
  --html FILE           a page with live and reserved bytes over time, and the address space
  --timing-runs N       replays to take ns_per_pair from, the least counts (default 3; 0: not measured)
  --jobs N              processes at once for --min-fit (default 1)

Columns ("-": not known, not asked for, or, of fit, not within the grid):
  live MiB, res. MiB  peaks: requests rounded up to 512 B; physical bytes as the device counts them
  ratio               reserved over live, of a trace that completed
  fit                 what --min-fit found
  calls, steady       driver calls (cudaMalloc*, cudaFree*, cuMem*), all of them and those after the third step
  first ms            modelled driver time until the end of the first step
  remap us, create us modelled driver time of a step, the mean of the second half: moving pages, and creating or releasing
  stalls              waits of the host for the device inside the allocator
  kept                the share of a step's allocations over 1 MiB, in the second half, that have the address of their counterpart
                      (the same place among those of its size) in the last step with the same label
  ns/pair             CPU time of an allocation and its release, second half; the only figure that is measured
Modelled times are not measured: docs/benchmarks.md has the cost of each call.
Exit code: 0 all traces completed without a violation, 1 some did not, 2 wrong usage, 3 something is missing or failed.
)";
}

}  // namespace gapless::tools
