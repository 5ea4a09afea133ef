// SPDX-License-Identifier: Apache-2.0
#include "tools/sim/options.hpp"

#include <charconv>
#include <cstdlib>
#include <functional>
#include <string_view>

namespace gapless::tools {
namespace {

template <typename Number>
bool parse_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// One page of the device: a machine with less can hold nothing.
constexpr std::uint64_t kLeastSize = std::uint64_t{2} << 20;

// M.N: compute capabilities have one digit after the dot.
bool is_capability(std::string_view text) {
  const std::size_t dot = text.find('.');
  if (dot == 0 || dot > 2 || text.size() != dot + 2) return false;
  return text.substr(0, dot).find_first_not_of("0123456789") == std::string_view::npos &&
         text.find_first_not_of("0123456789", dot + 1) == std::string_view::npos;
}

// What is wrong with a value that reads as a size, with what was probably meant; empty: nothing.
std::string size_problem(std::string_view text, std::uint64_t bytes) {
  if (bytes >= kLeastSize) return {};
  std::string problem = "--size: " + std::string(text) + " is less than one page of the device, 2MiB";
  if (text.find_first_not_of("0123456789.") == std::string_view::npos) {
    problem += "; without a unit it is bytes, did you mean " + std::string(text) + "GiB?";
  }
  return problem;
}

struct Option {
  std::string_view name;
  bool takes_value;
  std::function<bool(std::string_view value)> set;
};

std::vector<Option> options_of(SimOptions& out) {
  driver::sim::Config& machine = out.machine;
  return {
      {"--size", true,
       [&](std::string_view v) {
         if (!driver::sim::parse_size(v, machine.size)) return false;
         out.problem = size_problem(v, machine.size);
         return out.problem.empty();
       }},
      {"--devices", true,
       [&](std::string_view v) {
         return parse_number(v, machine.devices) && machine.devices >= 1 && machine.devices <= 64;
       }},
      {"--other-process-bytes", true, [&](std::string_view v) { return driver::sim::parse_size(v, machine.other); }},
      {"--seed", true, [&](std::string_view v) { return parse_number(v, machine.seed); }},
      {"--completion", true, [&](std::string_view v) { return driver::sim::parse_completion(v, machine); }},
      {"--strict", false, [&](std::string_view) { return machine.strict = true; }},
      {"--capability", true,
       [&](std::string_view v) {
         out.capability = v;
         return is_capability(v);
       }},
      {"--stats", true,
       [&](std::string_view v) {
         machine.stats = v;
         return !v.empty();
       }},
      {"--log", true,
       [&](std::string_view v) {
         out.log = v;
         return !v.empty();
       }},
      {"--gapless", false, [&](std::string_view) { return out.gapless = true; }},
      {"--quiet", false,
       [&](std::string_view) {
         machine.summary = false;
         return true;
       }},
      {"--help", false, [&](std::string_view) { return out.help = true; }},
      {"-h", false, [&](std::string_view) { return out.help = true; }},
  };
}

// So that a shell reads it as one word.
std::string quoted(std::string_view word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string_view::npos) return std::string(word);
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

const Option* find(const std::vector<Option>& options, std::string_view name) {
  for (const Option& each : options) {
    if (each.name == name) return &each;
  }
  return nullptr;
}

}  // namespace

bool parse_sim_options(int argc, char** argv, SimOptions& out, std::string& why) {
  if (const char* text = std::getenv(driver::sim::kConfigVariable)) {
    if (!driver::sim::parse_config(text, out.machine, why)) {
      why = std::string(driver::sim::kConfigVariable) + ": " + why;
      return false;
    }
    out.machine.stats.clear();  // another process's file
  }
  const std::vector<Option> options = options_of(out);
  out.machine.summary = true;
  int index = 1;
  while (index < argc) {
    const std::string_view argument = argv[index++];
    if (argument == "--") break;
    if (!argument.starts_with('-')) {  // the command, without the dashes before it
      --index;
      break;
    }
    const std::size_t equals = argument.find('=');
    const std::string name(argument.substr(0, equals));
    const Option* option = find(options, name);
    if (option == nullptr) {
      why = "unknown option " + name;
      return false;
    }
    std::string_view value;
    if (equals != std::string_view::npos) {
      if (!option->takes_value) {
        why = name + " takes no value";
        return false;
      }
      value = argument.substr(equals + 1);
    } else if (option->takes_value) {
      if (index >= argc) {
        why = name + " needs a value";
        return false;
      }
      value = argv[index++];
    }
    if (!option->set(value)) {
      why = out.problem.empty() ? name + ": cannot read '" + std::string(value) + "'" : out.problem;
      return false;
    }
  }
  out.command.assign(argv + index, argv + argc);
  for (int i = 0; i < argc; ++i) out.command_line += (i == 0 ? "" : " ") + quoted(argv[i]);
  if (out.command.empty() && !out.help) {
    why = "no command given";
    return false;
  }
  return true;
}

const char* sim_usage() {
  return R"(usage: gapless-sim [OPTION...] [--] COMMAND [ARGUMENT...]

Runs COMMAND, and what it starts, on a simulated CUDA device: no GPU is needed, kernels do nothing, memory is counted.

  --size SIZE                 physical memory of each device (80GiB)
  --devices N                 devices, 1 to 64 (1)
  --other-process-bytes SIZE  of each device's memory, held by other processes (0)
  --completion WHEN           when queued work completes: eager, lazy, random, random:SEED, lag:N (lag:0)
  --seed N                    owns every random decision (1)
  --strict                    report what a real device leaves undefined: races, use before completion, pending unmaps
  --capability M.N            compute capability that the device reports (8.0)
  --stats FILE                write driver calls, physical bytes and violations as JSON when COMMAND exits; processes that
                              COMMAND starts write FILE.PID when they use the device themselves
  --quiet                     no line at the end: otherwise each process that used the device writes one line to stderr, the
                              peak of physical bytes and the number of broken rules
  --log FILE                  write one line for each call of COMMAND that makes, maps, frees or waits for memory or orders
                              streams; the same run twice writes the same file; processes that COMMAND starts write FILE.PID
  --gapless                   also preload gapless (libgapless_preload.so)
  -h, --help                  this text

Sizes: a number, then K, M, G or T, with or without iB (powers of 1024); bytes without a letter.
GAPLESS_SIM=key=value,... gives defaults for all of these and for what has no option (src/driver/sim/config.hpp): it is what
a report names to run the same again.
Variables that are set already stay as they are: PYTHONHASHSEED, TORCH_CUDNN_V8_API_DISABLED, TRITON_LIBCUDA_PATH.
GAPLESS_SIM_COUNT_KERNELS=1 adds launches by kernel name to the statistics.

Exit status: that of COMMAND; 125 when gapless-sim itself fails, 126 when COMMAND cannot be run, 127 when it is not found.
)";
}

}  // namespace gapless::tools
