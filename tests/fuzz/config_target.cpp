// SPDX-License-Identifier: Apache-2.0
// Configuration strings: no text crashes, hangs or floods; an error changes nothing; what is set reads back.
// Input: a letter for the source, then the text.
#include <cstdint>
#include <string>

#include "config/load.hpp"
#include "fuzz/require.hpp"

namespace {

using namespace gapless::config;

bool has_error(const Messages& messages) {
  for (const Message& message : messages) {
    if (message.severity == Severity::error) return true;
  }
  return false;
}

void require_reads_back(const Options& options) {
  for (const OptionInfo& option : option_table()) {
    Options copy = options;
    FUZZ_REQUIRE(option.set(copy, option.get(options)).empty());
    FUZZ_REQUIRE(copy == options);
  }
}

std::string environment_text;
const char* get_env(const char*) {
  return environment_text.c_str();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Options options;
  Messages messages;
  switch (data[0]) {
    case 'g':
      parse_gapless_conf(text, "fuzz", options, messages);
      break;
    case 'p':
      parse_pytorch_conf(text, "fuzz", options, messages);
      FUZZ_REQUIRE(!has_error(messages) || options == Options{});
      break;
    case 's': {
      const std::size_t colon = text.find(':');
      const std::string value = colon == std::string::npos ? "" : text.substr(colon + 1);
      const SetResult result = set_option(options, text.substr(0, colon), value);
      FUZZ_REQUIRE((result.status == SetStatus::ok) == result.text.empty());
      FUZZ_REQUIRE(result.status == SetStatus::ok || options == Options{});
      break;
    }
    default: {
      environment_text = text;
      bool ok = false;
      Loaded loaded = load_options(&get_env, environment_text.c_str(), &ok);
      options = loaded.options;
      messages = loaded.messages;
    }
  }
  require_reads_back(options);
  std::size_t printed = 0;
  for (const Message& message : messages) {
    FUZZ_REQUIRE(message.text.find('\n') == std::string::npos);
    printed += message.text.size();
  }
  FUZZ_REQUIRE(messages.size() <= 64 && printed <= (64u << 10));
  return 0;
}
