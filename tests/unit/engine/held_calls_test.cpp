// SPDX-License-Identifier: Apache-2.0
// One thread is held inside a driver call, for each call that the engine makes while others run (cuMemAddressFree and
// cuEventDestroy are made by gapless_close only). Meanwhile hits and frees of other threads complete, and a miss that
// queues behind succeeds in the end instead of reporting an out of memory that is none.
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <ostream>
#include <string>
#include <thread>

#include "fixture.hpp"
#include "support/device_work.hpp"

namespace gapless::engine {
namespace {

using driver::Call;

class HeldCallsTest;

struct Held {
  const char* name;
  Call call;
  // Before the gate closes, and what then runs into it.
  void (*prepare)(HeldCallsTest&);
  void (*act)(HeldCallsTest&);
};
std::ostream& operator<<(std::ostream& out, const Held& held) {
  return out << held.name;
}

class HeldCallsTest : public EngineTest, public ::testing::WithParamInterface<Held> {
 public:
  using EngineTest::allocate;
  using EngineTest::allocator;
  using EngineTest::free;

  void open_device() {
    driver::sim::Config machine;
    machine.completion = driver::sim::Completion::lazy;
    machine.devices = 2;
    config::Options options;
    options.slack = 4;  // the held miss creates what it needs instead of taking what the hits use
    open(256 * kMiB, options, machine);
    work = std::make_unique<testing::DeviceWork>(*machine_, 2);
    other_stream = work->stream(1);
  }
  void TearDown() override {
    EngineTest::TearDown();
    work.reset();
  }
  void one_miss(std::uint64_t bytes) { free(allocate(bytes)); }
  void leave_idle(std::uint64_t bytes) {
    void* const block = allocate(bytes);
    free(block);
  }
  // A freed block that another stream may still use.
  void leave_pending() {
    used = allocate(20 * kMiB);
    work->write(0, reinterpret_cast<std::uint64_t>(used), 20 * kMiB);
    work->read_from(1, 0, reinterpret_cast<std::uint64_t>(used), 20 * kMiB);
    ASSERT_EQ(gapless_record_stream(allocator, used, other_stream), GAPLESS_OK);
  }
  void trim_to(std::uint64_t keep) {
    std::size_t released = 0;
    EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, keep, &released), GAPLESS_OK) << gapless_last_error();
  }

  void* hit_stream = nullptr;
  void* other_stream = nullptr;
  void* used = nullptr;
  std::unique_ptr<testing::DeviceWork> work;
};

TEST_P(HeldCallsTest, HitsAndFreesGoOn) {
  open_device();
  GetParam().prepare(*this);
  hit_stream = make_stream();
  void* const last_stream = make_stream();
  void* const more = allocate(3 * kMiB, hit_stream);
  free(allocate(10 * kMiB, hit_stream));
  free(allocate(100, hit_stream));

  latency_->close(GetParam().call);
  std::thread slow([&] { GetParam().act(*this); });
  latency_->wait_until_held();
  auto hits = std::async(std::launch::async, [&] {
    for (int i = 0; i < 100; i++) {
      void* const large = allocate(10 * kMiB, hit_stream);
      void* const small = allocate(100, hit_stream);
      free(large);
      free(small);
    }
    free(more);
  });
  EXPECT_EQ(hits.wait_for(std::chrono::seconds(20)), std::future_status::ready) << "others wait for the held call";
  std::thread waiting([&] { free(allocate(6 * kMiB, last_stream)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  latency_->open();
  slow.join();
  waiting.join();
  hits.wait();
  EXPECT_EQ(stats().num_ooms, 0);
  validate();
}

constexpr auto kNothing = [](HeldCallsTest&) {};

const Held kCalls[] = {
    Held{"device_info", Call::device_info, kNothing,
         [](HeldCallsTest& t) {
           void* out = nullptr;
           EXPECT_EQ(gapless_allocate(t.allocator, 1, nullptr, 100, &out), GAPLESS_OK);
           t.free(out);
         }},
    Held{"memory_info", Call::memory_info, kNothing, [](HeldCallsTest& t) { t.one_miss(100 * kMiB); }},
    Held{"address_reserve", Call::address_reserve, kNothing, [](HeldCallsTest& t) { t.one_miss(100); }},
    Held{"create", Call::create, kNothing, [](HeldCallsTest& t) { t.one_miss(30 * kMiB); }},
    Held{"map", Call::map, kNothing, [](HeldCallsTest& t) { t.one_miss(30 * kMiB); }},
    Held{"set_access", Call::set_access, kNothing, [](HeldCallsTest& t) { t.one_miss(30 * kMiB); }},
    Held{"unmap", Call::unmap, [](HeldCallsTest& t) { t.leave_idle(40 * kMiB); },
         [](HeldCallsTest& t) { t.trim_to(40 * kMiB); }},
    Held{"release", Call::release, [](HeldCallsTest& t) { t.leave_idle(40 * kMiB); },
         [](HeldCallsTest& t) { t.trim_to(40 * kMiB); }},
    Held{"event_create", Call::event_create, [](HeldCallsTest& t) { t.leave_pending(); },
         [](HeldCallsTest& t) { t.free(t.used); }},
    Held{"event_record", Call::event_record, [](HeldCallsTest& t) { t.leave_pending(); },
         [](HeldCallsTest& t) { t.free(t.used); }},
    Held{"event_query", Call::event_query, [](HeldCallsTest& t) { t.leave_pending(); },
         [](HeldCallsTest& t) {
           t.free(t.used);
           t.one_miss(30 * kMiB);
         }},
    Held{"stream_wait_event", Call::stream_wait_event, [](HeldCallsTest& t) { t.leave_pending(); },
         [](HeldCallsTest& t) {
           t.free(t.used);
           t.one_miss(30 * kMiB);
         }},
    // Another thread's own default stream cannot be made to wait, so the host does, when nothing else is left.
    Held{"event_synchronize", Call::event_synchronize,
         [](HeldCallsTest& t) {
           t.work->unrelated(1, 3);
           std::thread([&t] {
             void* const block = t.allocate(20 * kMiB, reinterpret_cast<void*>(2));
             EXPECT_EQ(gapless_record_stream(t.allocator, block, t.other_stream), GAPLESS_OK);
             t.free(block);
           }).join();
         },
         [](HeldCallsTest& t) { t.one_miss(234 * kMiB); }},
    // Nor can it be recorded: the whole device is waited for.
    Held{"device_synchronize", Call::device_synchronize,
         [](HeldCallsTest& t) {
           std::thread([&t] { t.free(t.allocate(40 * kMiB, reinterpret_cast<void*>(2))); }).join();
         },
         [](HeldCallsTest& t) { t.trim_to(40 * kMiB); }},
    Held{"capture_info", Call::capture_info, kNothing, [](HeldCallsTest& t) { t.one_miss(30 * kMiB); }},
    Held{"exchange_capture_mode", Call::exchange_capture_mode, kNothing,
         [](HeldCallsTest& t) { t.one_miss(30 * kMiB); }}};

std::string name_of(const ::testing::TestParamInfo<Held>& held) {
  return held.param.name;
}

INSTANTIATE_TEST_SUITE_P(Each, HeldCallsTest, ::testing::ValuesIn(kCalls), name_of);

}  // namespace
}  // namespace gapless::engine
