// SPDX-License-Identifier: Apache-2.0
// Results as lines: one JSON object each, or a table for people.
#pragma once

#include <string>

#include "tools/replay/result.hpp"

namespace gapless::tools {

std::string json_line(const ReplayResult& result, bool with_min_fit);
std::string table_header();
std::string table_line(const ReplayResult& result);

}  // namespace gapless::tools
