// SPDX-License-Identifier: Apache-2.0
// From text to Options: the two grammars, and the order in which the sources win.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/options.hpp"

namespace gapless::config {

enum class Severity {
  note,  // accepted, but has no effect here
  error  // not accepted
};
struct Message {
  Severity severity;
  std::string text;  // one sentence that names its source
  friend bool operator==(const Message&, const Message&) = default;
};
using Messages = std::vector<Message>;

// GAPLESS_CONF: `name:value,name:value`. White space around names and values is dropped, empty items are skipped, a
// value that holds commas is put in brackets (`[a:1,b:2]`). Each item stands alone: a bad one is reported and leaves
// its option as it was, the others are taken. `source` names the text in the messages. Never throws but for lack of
// host memory; time and space are linear in the text, which is refused above 64 KiB.
void parse_gapless_conf(std::string_view text, std::string_view source, Options& options, Messages& messages);

// PYTORCH_CUDA_ALLOC_CONF / PYTORCH_ALLOC_CONF, read exactly as PyTorch 2.11 reads it (its tokenizer, numbers, interval
// rules, the keys that each parse resets), with PyTorch's error texts. Keys `gapless_<option>` set ours. An error
// leaves `options` as they were: PyTorch raises then, and nobody relies on the half that it has taken.
void parse_pytorch_conf(std::string_view text, std::string_view source, Options& options, Messages& messages);

// The value of an environment variable, or null. A parameter, so that nothing here depends on the process's
// environment.
using GetEnv = const char* (*)(const char* name);

struct Loaded {
  Options options;
  Messages messages;
};

// Lowest to highest: the defaults, PyTorch's string (PYTORCH_CUDA_ALLOC_CONF; only where it is not set
// PYTORCH_ALLOC_CONF, as PyTorch does it), GAPLESS_CONF, `arguments` (null: none). `get_env` null: no environment.
// `arguments_ok` (may be null) receives whether `arguments` was free of errors.
Loaded load_options(GetEnv get_env, const char* arguments, bool* arguments_ok);

}  // namespace gapless::config
