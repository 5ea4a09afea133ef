// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over the files of the given folders, and over seeded mutations of them: what every build and
// sanitizer can do without libFuzzer. Deterministic.
//
//   PROGRAM [-mutations=N] [-seed=S] FILE-OR-FOLDER...
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

std::vector<std::filesystem::path> files_of(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return {path};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

Input read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(in), {});
}

// One of the changes that libFuzzer makes too: flip, insert, erase, copy a piece, join with another input.
void mutate(Input& input, const Input& other, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return limit == 0 ? 0 : static_cast<std::size_t>(random() % limit); };
  const auto at = [&](std::size_t index) { return input.begin() + static_cast<std::ptrdiff_t>(index); };
  switch (below(5)) {
    case 0:
      if (!input.empty()) input[below(input.size())] ^= static_cast<std::uint8_t>(1u << below(8));
      break;
    case 1:
      input.insert(at(below(input.size() + 1)), static_cast<std::uint8_t>(random()));
      break;
    case 2:
      if (!input.empty()) input.erase(at(below(input.size())));
      break;
    case 3: {
      const std::size_t from = below(input.size()), length = below(std::min<std::size_t>(16, input.size() - from));
      const Input piece(at(from), at(from + length));
      input.insert(at(below(input.size() + 1)), piece.begin(), piece.end());
      break;
    }
    default:
      input.resize(below(input.size() + 1));
      input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(below(other.size())), other.end());
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t mutations = 0, seed = 1;
  std::vector<Input> inputs;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "-mutations=", 11) == 0) {
      mutations = std::strtoull(argv[i] + 11, nullptr, 10);
    } else if (std::strncmp(argv[i], "-seed=", 6) == 0) {
      seed = std::strtoull(argv[i] + 6, nullptr, 10);
    } else {
      for (const auto& file : files_of(argv[i])) inputs.push_back(read(file));
    }
  }
  if (inputs.empty()) {
    std::fprintf(stderr, "no input\n");
    return 2;
  }
  for (const Input& input : inputs) LLVMFuzzerTestOneInput(input.data(), input.size());

  std::mt19937_64 random(seed);
  for (std::uint64_t i = 0; i < mutations; ++i) {
    Input input = inputs[random() % inputs.size()];
    for (std::uint64_t changes = 1 + random() % 8; changes > 0; --changes) {
      mutate(input, inputs[random() % inputs.size()], random);
    }
    // Written before the run, so that a crash leaves its input behind.
    if (const char* keep = std::getenv("GAPLESS_FUZZ_KEEP"); keep != nullptr) {
      std::ofstream(keep, std::ios::binary)
          .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu inputs, %llu mutations, seed %llu\n", inputs.size(), static_cast<unsigned long long>(mutations),
              static_cast<unsigned long long>(seed));
  return 0;
}
