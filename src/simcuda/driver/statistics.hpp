// SPDX-License-Identifier: Apache-2.0
// The call counters' list, and the statistics as JSON.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace gapless::simcuda {

// Calls by function of one kind (GAPLESS_SIM_DRIVER, ...), zeros left out. Functions counted in two places add up.
std::map<std::string, std::uint64_t> calls_of_kind(int kind);

std::string statistics_json();

// One line for a person, without a line end: the peak of each device that was used, and how many rules were broken.
std::string statistics_line();

// False with errno set.
bool write_statistics(const std::string& path);

}  // namespace gapless::simcuda
