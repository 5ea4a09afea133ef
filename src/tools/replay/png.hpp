// SPDX-License-Identifier: Apache-2.0
// A palette image as a data: URL, so that a page needs no other file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gapless::tools {

struct Colour {
  std::uint8_t red, green, blue;
};

struct Image {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<Colour> palette;       // at most 256
  std::vector<std::uint8_t> pixels;  // width * height indexes, row by row from the top
};

std::string png_data_url(const Image& image);

}  // namespace gapless::tools
