// SPDX-License-Identifier: Apache-2.0
// The debug mode on a device that keeps bytes and is strict: what a program breaks is found, and nothing else.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gapless/gapless.h"
#include "guard/finding.hpp"
#include "simulation.hpp"

namespace gapless {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

class Guarded : public testing::Test {
 protected:
  void SetUp() override {
    violations_before = violations();
    open("guard:true,guard_quarantine:16MiB");
  }
  void TearDown() override {
    EXPECT_EQ(gapless_close(allocator), GAPLESS_OK) << gapless_last_error();
    EXPECT_EQ(violations(), violations_before);
  }
  void open(const char* options) {
    gapless_open_args args = GAPLESS_STRUCT(gapless_open_args);
    args.options = options;
    args.ignore_environment = 1;
    ASSERT_EQ(gapless_open(&args, &allocator), GAPLESS_OK) << gapless_last_error();
    ASSERT_EQ(gapless_set_guard_hook(allocator, note, this), GAPLESS_OK);
  }
  static void note(void* user, const gapless_guard_finding* finding) {
    static_cast<Guarded*>(user)->findings.push_back(*finding);
  }
  static std::uint64_t violations() {
    return kernels::find<decltype(gapless_sim_violations)>(kernels::driver, "gapless_sim_violations")();
  }
  char* allocate(std::size_t bytes, cudaStream_t stream = nullptr) {
    void* out = nullptr;
    EXPECT_EQ(gapless_allocate(allocator, 0, stream, bytes, &out), GAPLESS_OK) << gapless_last_error();
    return static_cast<char*>(out);
  }
  void free(void* pointer) { EXPECT_EQ(gapless_deallocate(allocator, pointer), GAPLESS_OK) << gapless_last_error(); }
  static void write(void* at, std::size_t bytes, cudaStream_t stream = nullptr) {
    EXPECT_EQ(RUNTIME(cudaMemsetAsync)(at, 0x5a, bytes, stream), cudaSuccess);
  }
  static int fail_call(const char* function, std::uint64_t after, int result) {
    return kernels::find<decltype(gapless_sim_fail_call)>(kernels::driver, "gapless_sim_fail_call")(function, after,
                                                                                                    result);
  }
  static cudaStream_t make_stream() {
    cudaStream_t stream = nullptr;
    EXPECT_EQ(RUNTIME(cudaStreamCreateWithFlags)(&stream, cudaStreamNonBlocking), cudaSuccess);
    return stream;
  }
  std::uint64_t check() {
    std::uint64_t found = 0;
    EXPECT_EQ(gapless_check_guards(allocator, 0, &found), GAPLESS_OK) << gapless_last_error();
    return found;
  }
  void trim() { EXPECT_EQ(gapless_trim(allocator, 0, gapless_pool_id{}, 0, nullptr), GAPLESS_OK); }

  gapless_allocator* allocator = nullptr;
  std::vector<gapless_guard_finding> findings;
  std::uint64_t violations_before = 0;
};

TEST_F(Guarded, TheFirstByteBehindABlockIsFoundOnce) {
  char* const block = allocate(1000);
  char* const behind = allocate(3000);
  write(block, 1000);
  write(behind, 3000);
  EXPECT_EQ(check(), 0u);
  write(block + 1000, 3);
  EXPECT_EQ(check(), 1u);
  EXPECT_EQ(check(), 1u);
  ASSERT_EQ(findings.size(), 1u);
  const gapless_guard_finding& finding = findings[0];
  EXPECT_EQ(finding.kind, GAPLESS_GUARD_RED_ZONE);
  EXPECT_EQ(finding.first_broken, block + 1000);
  EXPECT_EQ(finding.broken_bytes, 3u);
  EXPECT_EQ(finding.found, 0x5a);
  EXPECT_NE(finding.expected, 0x5a);
  EXPECT_EQ(finding.block.address, block);
  EXPECT_EQ(finding.block.requested_bytes, 1000u);
  EXPECT_EQ(finding.block.allocated, 1u);
  EXPECT_EQ(finding.block.freed, 0u);
  EXPECT_EQ(finding.next.address, behind);
  EXPECT_NE(guard::text_of(finding).find("written 0 bytes behind the end of a block of device 0"), std::string::npos)
      << guard::text_of(finding);
  free(block);
  free(behind);
  trim();
  EXPECT_EQ(findings.size(), 1u);
}

TEST_F(Guarded, AWriteBeforeABlockIsInTheZoneOfTheOneBeforeIt) {
  char* const block = allocate(512);
  char* const behind = allocate(512);
  write(behind - 1, 1);
  free(behind);
  free(block);
  trim();
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].block.address, block);
  EXPECT_EQ(findings[0].first_broken, behind - 1);
}

TEST_F(Guarded, AWriteAfterTheFreeIsFoundWithWhoLayThereBefore) {
  ASSERT_EQ(gapless_mark_step(allocator, 0, "step", 0), GAPLESS_OK);
  char* const first = allocate(3 * kMiB);
  free(first);
  trim();  // the next one lies there
  ASSERT_EQ(gapless_mark_step(allocator, 0, "step", 0), GAPLESS_OK);
  char* const second = allocate(2 * kMiB);
  ASSERT_EQ(first, second);
  write(second, 2 * kMiB);
  free(second);
  EXPECT_EQ(check(), 0u);
  write(second + 12345, 1);
  EXPECT_EQ(check(), 1u);
  trim();
  ASSERT_EQ(findings.size(), 1u);
  const gapless_guard_finding& finding = findings[0];
  EXPECT_EQ(finding.kind, GAPLESS_GUARD_FREED);
  EXPECT_EQ(finding.first_broken, second + 12345);
  EXPECT_EQ(finding.block.allocated, 2u);
  EXPECT_EQ(finding.block.freed, 2u);
  EXPECT_EQ(finding.block.step_freed, 2u);
  ASSERT_EQ(finding.earlier_count, 1u);
  EXPECT_EQ(finding.earlier[0].requested_bytes, 3 * kMiB);
  EXPECT_EQ(finding.earlier[0].allocated, 1u);
  EXPECT_EQ(finding.earlier[0].step_freed, 1u);
  EXPECT_NE(guard::text_of(finding).find("freed memory was written, 12345 bytes into"), std::string::npos);
}

// Work of a stream that nobody recorded on the block comes after its free; recorded, it comes before.
TEST_F(Guarded, AStreamThatWasNotRecordedIsFoundAndARecordedOneIsNot) {
  const cudaStream_t side = make_stream();
  for (const bool recorded : {true, false}) {
    char* const block = allocate(kMiB);
    write(block, kMiB);
    cudaEvent_t ready = nullptr;
    ASSERT_EQ(RUNTIME(cudaEventCreateWithFlags)(&ready, cudaEventDisableTiming), cudaSuccess);
    ASSERT_EQ(RUNTIME(cudaEventRecord)(ready, nullptr), cudaSuccess);
    ASSERT_EQ(RUNTIME(cudaStreamWaitEvent)(side, ready, 0), cudaSuccess);
    if (recorded) {
      write(block, kMiB, side);
      ASSERT_EQ(gapless_record_stream(allocator, block, side), GAPLESS_OK);
      free(block);
    } else {
      free(block);
      RUNTIME(cudaStreamSynchronize)(nullptr);
      write(block, 10, side);
      RUNTIME(cudaStreamSynchronize)(side);
    }
    EXPECT_EQ(check(), recorded ? 0u : 1u);
    ASSERT_EQ(RUNTIME(cudaEventDestroy)(ready), cudaSuccess);
  }
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].kind, GAPLESS_GUARD_FREED);
  trim();
  ASSERT_EQ(gapless_forget_stream(allocator, 0, side), GAPLESS_OK);
  ASSERT_EQ(RUNTIME(cudaStreamDestroy)(side), cudaSuccess);
}

TEST_F(Guarded, WhatIsKeptBackIsBoundedAndGivenUpBeforeAnOutOfMemory) {
  const auto live = [&] {
    gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
    EXPECT_EQ(gapless_get_stats(allocator, 0, &stats), GAPLESS_OK);
    return static_cast<std::size_t>(stats.allocated_bytes[GAPLESS_ALL].current);
  };
  for (int i = 0; i < 40; ++i) {
    free(allocate(3 * kMiB));
    EXPECT_LE(live(), 17 * kMiB);
  }
  EXPECT_GE(live(), 6 * kMiB);
  free(allocate(40 * kMiB));  // larger than all that may be kept: looked at and gone at once
  EXPECT_LE(live(), 17 * kMiB);
  ASSERT_EQ(gapless_set_limit(allocator, 0, 62 * kMiB), GAPLESS_OK);
  free(allocate(3 * kMiB));
  char* const rest = allocate(58 * kMiB);
  EXPECT_LT(live(), 59 * kMiB);
  write(rest, 58 * kMiB);
  free(rest);
  EXPECT_EQ(check(), 0u);
}

TEST_F(Guarded, ASecondFreeIsRefusedWithTheBlocksHistory) {
  char* const block = allocate(5000);
  free(block);
  EXPECT_EQ(gapless_deallocate(allocator, block), GAPLESS_ERROR_UNKNOWN_POINTER);
  EXPECT_NE(std::string(gapless_last_error()).find("freed twice: allocation 1 of 5000 bytes"), std::string::npos);
}

// Nothing is launched into a capture, and what lives across one is the engine's alone.
TEST_F(Guarded, CapturesAreLeftAlone) {
  const cudaStream_t stream = make_stream();
  char* const before = allocate(kMiB, stream);
  write(before, kMiB, stream);
  ASSERT_EQ(RUNTIME(cudaStreamBeginCapture)(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  free(before);
  free(allocate(kMiB));  // another stream's, as usual
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(RUNTIME(cudaStreamEndCapture)(stream, &graph), cudaSuccess);
  std::size_t nodes = 9;
  ASSERT_EQ(RUNTIME(cudaGraphGetNodes)(graph, nullptr, &nodes), cudaSuccess);
  EXPECT_EQ(nodes, 0u);
  ASSERT_EQ(RUNTIME(cudaGraphDestroy)(graph), cudaSuccess);
  EXPECT_EQ(check(), 0u);
  ASSERT_EQ(gapless_forget_stream(allocator, 0, stream), GAPLESS_OK);
  ASSERT_EQ(RUNTIME(cudaStreamDestroy)(stream), cudaSuccess);
}

// The guard's own memory on the device is made at the first allocation, which may fall into a capture elsewhere.
TEST_F(Guarded, TheFirstAllocationBreaksNoCapture) {
  const cudaStream_t stream = make_stream();
  const cudaStream_t other = make_stream();
  ASSERT_EQ(RUNTIME(cudaStreamBeginCapture)(stream, cudaStreamCaptureModeGlobal), cudaSuccess);
  char* const block = allocate(kMiB, other);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(RUNTIME(cudaStreamEndCapture)(stream, &graph), cudaSuccess);
  ASSERT_EQ(RUNTIME(cudaGraphDestroy)(graph), cudaSuccess);
  free(block);
  for (const cudaStream_t each : {stream, other}) {
    ASSERT_EQ(gapless_forget_stream(allocator, 0, each), GAPLESS_OK);
    ASSERT_EQ(RUNTIME(cudaStreamDestroy)(each), cudaSuccess);
  }
}

TEST_F(Guarded, ACheckThatCannotLookSaysSo) {
  char* const block = allocate(1000);
  write(block + 1000, 1);
  ASSERT_EQ(fail_call("cuStreamSynchronize", 0, 700), 0);
  EXPECT_EQ(gapless_check_guards(allocator, 0, nullptr), GAPLESS_ERROR_DRIVER);
  EXPECT_EQ(check(), 1u);
  free(block);
}

TEST_F(Guarded, ACloseThatIsRefusedLeavesTheGuardAsItWas) {
  char* const block = allocate(1000);
  EXPECT_EQ(gapless_close(allocator), GAPLESS_ERROR_BUSY);
  write(block + 1000, 1);
  EXPECT_EQ(check(), 1u);
  free(block);
}

// Checked: a stream that owns no block may still be writing to one.
TEST_F(Guarded, ACheckWaitsForTheDevice) {
  const cudaStream_t side = make_stream();
  char* const block = allocate(1000);
  RUNTIME(cudaStreamSynchronize)(nullptr);
  write(block + 1000, 1, side);
  EXPECT_EQ(check(), 1u);
  free(block);
  ASSERT_EQ(RUNTIME(cudaStreamDestroy)(side), cudaSuccess);
}

// What a check looks at stays mapped until it is over, whatever other threads free and trim.
TEST_F(Guarded, ACheckAndAnotherThreadThatFreesAndTrims) {
  static decltype(this) self = nullptr;
  static char* theirs = nullptr;
  static std::atomic<bool> begun, done;
  static std::thread thread;
  const cudaStream_t side = make_stream();
  char* const mine = allocate(kMiB);
  self = this;
  theirs = allocate(20 * kMiB, side);
  begun = done = false;
  // In the middle of the check, after the blocks of the default stream.
  const auto meanwhile = [](int stream) {
    if (stream != 0 || begun.exchange(true)) return;
    thread = std::thread([] {
      EXPECT_EQ(fail_call("cuLaunchKernel", 0, 1), 0);  // it is not poisoned, so the engine's at once
      self->free(theirs);
      self->trim();
      done = true;
    });
    const auto patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
    while (!done && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
  };
  const auto on_synchronize =
      kernels::find<decltype(gapless_sim_on_synchronize)>(kernels::driver, "gapless_sim_on_synchronize");
  ASSERT_EQ(on_synchronize(meanwhile), 0);
  EXPECT_EQ(check(), 0u);
  ASSERT_EQ(on_synchronize(nullptr), 0);
  ASSERT_TRUE(begun);
  thread.join();
  EXPECT_EQ(check(), 0u);
  free(mine);
  ASSERT_EQ(gapless_forget_stream(allocator, 0, side), GAPLESS_OK);
  ASSERT_EQ(RUNTIME(cudaStreamDestroy)(side), cudaSuccess);
}

// The warm-up of a graph is guarded, its pool then goes back to where it was: what the guard held of it is no more.
TEST_F(Guarded, APoolThatGoesBackToACheckpoint) {
  const gapless_pool_id pool{7, 0};
  const auto everything = [](void*, gapless_stream) -> std::int32_t { return 1; };
  ASSERT_EQ(gapless_pool_begin(allocator, 0, pool, everything, nullptr, nullptr), GAPLESS_OK);
  char* const stays = allocate(3 * kMiB);
  gapless_checkpoint* checkpoint = nullptr;
  ASSERT_EQ(gapless_pool_checkpoint(allocator, 0, pool, &checkpoint), GAPLESS_OK);
  char* const freed = allocate(3 * kMiB);
  char* const lost = allocate(2 * kMiB);
  free(freed);
  void* live[4] = {};
  std::size_t count = 0;
  ASSERT_EQ(gapless_pool_live_blocks(allocator, 0, pool, live, 4, &count), GAPLESS_OK);
  ASSERT_EQ(count, 2u) << "what is kept back and the guard's own are not the program's";
  EXPECT_EQ(live[0], stays);
  EXPECT_EQ(live[1], lost);
  free(allocate(3 * kMiB));
  std::vector<void*> gone;
  const auto note_freed = [](void* user, void* address) { static_cast<std::vector<void*>*>(user)->push_back(address); };
  ASSERT_EQ(gapless_pool_restore(allocator, 0, checkpoint, &gone, note_freed, nullptr), GAPLESS_OK)
      << gapless_last_error();
  EXPECT_EQ(gone, (std::vector<void*>{stays, lost}));
  // All that lay there before lies there anew.
  std::vector<char*> blocks;
  for (int i = 0; i < 5; ++i) {
    blocks.push_back(allocate(kMiB + 1000));
    write(blocks.back(), kMiB + 1000);
  }
  write(stays, 3 * kMiB);
  EXPECT_EQ(check(), 0u);
  trim();
  for (char* const block : blocks) free(block);
  free(stays);
  trim();
  EXPECT_TRUE(findings.empty()) << guard::text_of(findings.front());
  gapless_checkpoint_destroy(checkpoint);
  ASSERT_EQ(gapless_pool_end(allocator, 0, pool), GAPLESS_OK);
  ASSERT_EQ(gapless_pool_release(allocator, 0, pool), GAPLESS_OK);
}

// A program that keeps to its blocks: nothing is found, on three streams that hand blocks on.
TEST_F(Guarded, ACorrectProgramIsLeftInPeace) {
  std::mt19937_64 random(11);
  const cudaStream_t streams[] = {nullptr, make_stream(), make_stream()};
  std::vector<char*> blocks;
  for (int step = 0; step < 600; ++step) {
    if (blocks.size() > 20 || (!blocks.empty() && random() % 3 == 0)) {
      const std::size_t at = random() % blocks.size();
      free(blocks[at]);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    const cudaStream_t stream = streams[random() % 3];
    const std::size_t bytes = 1 + random() % (random() % 4 == 0 ? 3 * kMiB : 4000);
    char* const block = allocate(bytes, stream);
    write(block, bytes, stream);
    if (const cudaStream_t other = streams[random() % 3]; other != stream && random() % 2 == 0) {
      ASSERT_EQ(RUNTIME(cudaStreamSynchronize)(stream), cudaSuccess);
      write(block, bytes, other);
      ASSERT_EQ(gapless_record_stream(allocator, block, other), GAPLESS_OK);
    }
    blocks.push_back(block);
    if (step % 100 == 99) {
      EXPECT_EQ(check(), 0u);
    }
  }
  for (char* const block : blocks) free(block);
  trim();
  EXPECT_TRUE(findings.empty()) << guard::text_of(findings.front());
  for (const cudaStream_t stream : streams) {
    if (stream == nullptr) continue;
    ASSERT_EQ(gapless_forget_stream(allocator, 0, stream), GAPLESS_OK);
    ASSERT_EQ(RUNTIME(cudaStreamDestroy)(stream), cudaSuccess);
  }
}

TEST(Unguarded, AsksForTheOption) {
  gapless_open_args args = GAPLESS_STRUCT(gapless_open_args);
  args.ignore_environment = 1;
  gapless_allocator* allocator = nullptr;
  ASSERT_EQ(gapless_open(&args, &allocator), GAPLESS_OK) << gapless_last_error();
  EXPECT_EQ(gapless_check_guards(allocator, 0, nullptr), GAPLESS_ERROR_UNSUPPORTED);
  EXPECT_EQ(gapless_set_guard_hook(allocator, nullptr, nullptr), GAPLESS_ERROR_UNSUPPORTED);
  EXPECT_EQ(gapless_close(allocator), GAPLESS_OK);
}

}  // namespace
}  // namespace gapless
