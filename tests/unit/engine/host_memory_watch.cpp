// SPDX-License-Identifier: Apache-2.0
#include "host_memory_watch.hpp"

#include <cstdlib>
#include <new>

#include "fixture.hpp"

namespace gapless::engine {

Watch& watch() {
  static thread_local Watch of_this_thread;
  return of_this_thread;
}

// False: refuse.
static bool note_request() {
  Watch& seen = watch();
  if (seen.fast == nullptr || Chain::calls_under_way != 0) return true;
  seen.requests++;
  if (seen.fast->try_lock())
    seen.fast->unlock();
  else
    seen.under_the_lock++;
  if (seen.fail_at == 0 || seen.requests < seen.fail_at) return true;
  return seen.requests > seen.fail_at && !seen.and_all_later;
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
