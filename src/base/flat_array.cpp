// SPDX-License-Identifier: Apache-2.0
#include "base/flat_array.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace gapless::base::detail {
namespace {

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}
std::size_t up(std::size_t bytes) {
  return (bytes + page_size() - 1) / page_size() * page_size();
}

}  // namespace

void* reserve_pages(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  void* base = mmap(nullptr, up(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  // Tables are touched sparsely: a transparent huge page would zero 2 MiB at a first touch.
  madvise(base, up(bytes), MADV_NOHUGEPAGE);
  return base;
}

bool commit_pages(void* base, std::size_t from, std::size_t to) {
  // The page that holds `from` is committed already, unless nothing is.
  const std::size_t start = up(from);
  const std::size_t end = up(to);
  if (start >= end) return true;
  return mprotect(static_cast<char*>(base) + start, end - start, PROT_READ | PROT_WRITE) == 0;
}

void release_pages(void* base, std::size_t bytes) {
  if (base != nullptr) munmap(base, up(bytes));
}

}  // namespace gapless::base::detail
