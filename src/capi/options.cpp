// SPDX-License-Identifier: Apache-2.0
// Options by name.
#include <cstring>
#include <mutex>
#include <string>

#include "capi/fence.hpp"
#include "capi/handle.hpp"

using gapless::Status;
using gapless::base::fail;
using gapless::capi::fenced;
using gapless::capi::null_argument;

extern "C" {

gapless_status gapless_set_option(gapless_allocator* allocator, const char* name, const char* value) {
  return fenced([&] {
    if (allocator == nullptr || name == nullptr || value == nullptr) return null_argument("allocator, name or value");
    gapless::config::SetResult result;
    allocator->engine->change_options([&](gapless::config::Options& options) {
      result = gapless::config::set_option(options, name, value);
      return result.status == gapless::config::SetStatus::ok;
    });
    switch (result.status) {
      case gapless::config::SetStatus::ok: {
        if (std::strcmp(name, "pytorch_alloc_conf") == 0) {
          const std::lock_guard guard(allocator->notes_lock);
          allocator->notes = result.text;
        }
        return Status::ok;
      }
      case gapless::config::SetStatus::unknown_name:
        return fail(Status::not_found, result.text);
      case gapless::config::SetStatus::no_effect:
        return fail(Status::unsupported, result.text);
      case gapless::config::SetStatus::bad_value:
      case gapless::config::SetStatus::only_at_open:
        break;
    }
    return fail(Status::invalid_argument, result.text);
  });
}

gapless_status gapless_get_option(gapless_allocator* allocator, const char* name, char* value, size_t capacity) {
  return fenced([&] {
    if (allocator == nullptr || name == nullptr || value == nullptr) return null_argument("allocator, name or value");
    std::string text;
    if (std::strcmp(name, "notes") == 0) {
      text = allocator->engine->notes();
      const std::lock_guard guard(allocator->notes_lock);
      text = allocator->notes + (text.empty() || allocator->notes.empty() ? "" : "\n") + text;
    } else if (!gapless::config::get_option(allocator->engine->options(), name, text)) {
      return fail(Status::not_found, "no option '" + std::string(name) + "'");
    }
    if (text.size() + 1 > capacity)
      return fail(Status::invalid_argument, "the value needs " + std::to_string(text.size() + 1) + " bytes");
    std::memcpy(value, text.c_str(), text.size() + 1);
    return Status::ok;
  });
}

}  // extern "C"
