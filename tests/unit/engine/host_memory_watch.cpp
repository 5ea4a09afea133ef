// SPDX-License-Identifier: Apache-2.0
#include "host_memory_watch.hpp"

#include <cstdlib>
#include <new>

#include "fixture.hpp"

namespace gapless::engine {

thread_local Watch watch;

// False: refuse.
static bool note_request() {
  if (watch.fast == nullptr || Chain::calls_under_way != 0) return true;
  watch.requests++;
  if (watch.fast->try_lock())
    watch.fast->unlock();
  else
    watch.under_the_lock++;
  if (watch.fail_at == 0 || watch.requests < watch.fail_at) return true;
  return watch.requests > watch.fail_at && !watch.and_all_later;
}

}  // namespace gapless::engine

void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return gapless::engine::note_request() ? std::malloc(bytes) : nullptr;
}
void* operator new(std::size_t bytes) {
  void* const out = operator new(bytes, std::nothrow);
  if (out == nullptr) throw std::bad_alloc();
  return out;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
