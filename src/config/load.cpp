// SPDX-License-Identifier: Apache-2.0
#include "config/load.hpp"

#include <algorithm>

namespace gapless::config {
namespace {

constexpr const char* kCudaVariable = "PYTORCH_CUDA_ALLOC_CONF";
constexpr const char* kGenericVariable = "PYTORCH_ALLOC_CONF";
constexpr const char* kOwnVariable = "GAPLESS_CONF";

void load_environment(GetEnv get_env, Loaded& loaded) {
  const char* cuda = get_env(kCudaVariable);
  const char* generic = get_env(kGenericVariable);
  if (const char* text = cuda != nullptr ? cuda : generic; text != nullptr) {
    parse_pytorch_conf(text, cuda != nullptr ? kCudaVariable : kGenericVariable, loaded.options, loaded.messages);
  }
  if (cuda != nullptr && generic != nullptr && std::string_view(cuda) != generic) {
    loaded.messages.push_back({Severity::note, std::string(kGenericVariable) + " is ignored, as PyTorch does while " +
                                                   kCudaVariable + " is set"});
  }
  if (const char* own = get_env(kOwnVariable); own != nullptr) {
    parse_gapless_conf(own, kOwnVariable, loaded.options, loaded.messages);
  }
}

}  // namespace

Loaded load_options(GetEnv get_env, const char* arguments, bool* arguments_ok) {
  Loaded loaded;
  if (get_env != nullptr) load_environment(get_env, loaded);
  const auto before = static_cast<std::ptrdiff_t>(loaded.messages.size());
  if (arguments != nullptr) parse_gapless_conf(arguments, "options", loaded.options, loaded.messages);
  if (arguments_ok != nullptr) {
    *arguments_ok = std::none_of(loaded.messages.begin() + before, loaded.messages.end(),
                                 [](const Message& message) { return message.severity == Severity::error; });
  }
  return loaded;
}

}  // namespace gapless::config
