// SPDX-License-Identifier: Apache-2.0
// A forked child keeps books and calls no driver: what it frees on its way out must harm nobody.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

using ForkTest = EngineTest;

// Whoever had used CUDA in the parent, the child is told what to do instead.
TEST_F(ForkTest, ADriverThatAnswersNothingNamesTheFork) {
  for (const driver::Call call : {driver::Call::device_count, driver::Call::device_info}) {
    open();
    driver::FaultDriver::Rule rule;
    rule.call = call;
    rule.error = driver::Result::not_initialized;
    rule.fail = UINT64_MAX;
    faults_->add(rule);
    void* out = nullptr;
    EXPECT_EQ(try_allocate(kMiB, out), GAPLESS_ERROR_UNSUPPORTED);
    EXPECT_NE(std::string(gapless_last_error()).find("forked child"), std::string::npos) << gapless_last_error();
    TearDown();
    allocator = nullptr;
  }
}

#if !defined(__SANITIZE_THREAD__)
TEST_F(ForkTest, TheChildFreesAndFailsCleanly) {
  open();
  void* const a = allocate(3 * kMiB);
  void* const b = allocate(3 * kMiB);
  ASSERT_EQ(gapless_record_stream(allocator, b, make_stream()), GAPLESS_OK);
  std::atomic<bool> stop{false};
  // Whatever another thread does at the moment of the fork, the child's locks are free.
  std::thread busy([&] {
    while (!stop) free(allocate(50000));
  });
  for (int i = 0; i < 20; i++) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(20);
      const std::uint64_t calls = faults_->memory_calls() + faults_->calls(driver::Call::event_record);
      bool ok = gapless_deallocate(allocator, a) == GAPLESS_OK && gapless_deallocate(allocator, b) == GAPLESS_OK;
      void* out = nullptr;
      ok = ok && gapless_allocate(allocator, 0, nullptr, kGiB, &out) == GAPLESS_ERROR_UNSUPPORTED;
      gapless_allocator* second = nullptr;
      ok = ok && gapless_open(nullptr, &second) == GAPLESS_ERROR_UNSUPPORTED &&
           std::string(gapless_last_error()).find("forked") != std::string::npos;
      std::size_t released = 0;
      ok = ok && gapless_trim(allocator, 0, {0, 0}, 0, &released) == GAPLESS_OK && released == 0;
      ok = ok && faults_->memory_calls() + faults_->calls(driver::Call::event_record) == calls;
      _exit(ok ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();
  free(a);
  free(b);
}
#endif

}  // namespace
}  // namespace gapless::engine
