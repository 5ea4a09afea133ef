// SPDX-License-Identifier: Apache-2.0
#include "config/options.hpp"

#include "config/load.hpp"
#include "config/nearest.hpp"

namespace gapless::config {
namespace {

constexpr std::string_view kPytorchText = "pytorch_alloc_conf";

constexpr When any_time = When::any_time;
constexpr When at_open = When::at_open;
constexpr State effective = State::effective;
constexpr State planned = State::planned;

constexpr OptionInfo kTable[] = {
#define GAPLESS_OPTION(type, name, initial, range, section, when, state, help)                          \
  {#name,                                                                                               \
   section,                                                                                             \
   help,                                                                                                \
   when,                                                                                                \
   state,                                                                                               \
   [] { return describe(type{}, range); },                                                              \
   [](Options& options, std::string_view text) -> Problem { return parse(text, range, options.name); }, \
   [](const Options& options) { return format(options.name); }},
#include "config/options.def"
};

}  // namespace

std::span<const OptionInfo> option_table() {
  return kTable;
}

const OptionInfo* find_option(std::string_view name) {
  for (const OptionInfo& row : kTable) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

std::string_view nearest_option(std::string_view name) {
  Nearest nearest(name);
  for (const OptionInfo& row : kTable) nearest.consider(row.name);
  return nearest.result();
}

SetResult set_option(Options& options, std::string_view name, std::string_view value) {
  if (name == kPytorchText) {
    Messages messages;
    parse_pytorch_conf(value, kPytorchText, options, messages);
    SetResult result;
    for (const Message& message : messages) {
      if (message.severity == Severity::error) return {SetStatus::bad_value, message.text};
      result.text += (result.text.empty() ? "" : "\n") + message.text;
    }
    return result;
  }
  const OptionInfo* option = find_option(name);
  if (option == nullptr) return {SetStatus::unknown_name, unknown_name_text(name, nearest_option(name))};
  const std::string quoted = "'" + std::string(name) + "'";
  if (option->state == State::planned) return {SetStatus::no_effect, quoted + " has no effect in this version"};
  if (option->when == When::at_open) return {SetStatus::only_at_open, quoted + " is read when the allocator is opened"};
  Problem problem = option->set(options, value);
  if (!problem.empty()) return {SetStatus::bad_value, std::string(name) + ": '" + printable(value) + "' " + problem};
  return {};
}

bool get_option(const Options& options, std::string_view name, std::string& out) {
  if (name == kPytorchText) {
    out = options.pytorch.text;
    return true;
  }
  const OptionInfo* option = find_option(name);
  if (option == nullptr) return false;
  out = option->get(options);
  return true;
}

}  // namespace gapless::config
