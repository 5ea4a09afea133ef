// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {
namespace {

Config with(const char* completion) {
  Config config;
  EXPECT_TRUE(parse_completion(completion, config));
  return config;
}

Stream make_stream(Machine& machine, bool non_blocking = true) {
  Stream out = nullptr;
  StreamFlags flags;
  flags.non_blocking = non_blocking;
  EXPECT_EQ(machine.stream_create(0, flags, out), Result::ok);
  return out;
}

Event make_event(Machine& machine) {
  Event out = nullptr;
  EXPECT_EQ(machine.event_create(0, out), Result::ok);
  return out;
}

void work(Machine& machine, Stream stream, Body body = {}) {
  Operation operation;
  operation.name = "work";
  operation.body = std::move(body);
  ASSERT_EQ(machine.submit(0, stream, operation), Result::ok);
}

TEST(SimStream, EventsCompleteAsTheScheduleSays) {
  const auto query_after = [](const char* completion, int operations) {
    Machine machine(with(completion));
    const Stream stream = make_stream(machine);
    const Event event = make_event(machine);
    EXPECT_EQ(machine.event_query(event), Result::ok) << "never recorded";
    EXPECT_EQ(machine.event_record(0, event, stream), Result::ok);
    for (int i = 0; i < operations; ++i) work(machine, nullptr);
    return machine.event_query(event);
  };
  EXPECT_EQ(query_after("eager", 0), Result::ok);
  EXPECT_EQ(query_after("lag:0", 0), Result::ok);
  EXPECT_EQ(query_after("lag:3", 2), Result::not_ready);
  EXPECT_EQ(query_after("lag:3", 3), Result::ok);
  EXPECT_EQ(query_after("lazy", 100), Result::not_ready);
  EXPECT_EQ(query_after("manual", 100), Result::not_ready);
}

// While a thread waits, a host function runs outside the lock. What others do meanwhile is judged by what was known
// before the wait; what they submit meanwhile is not what was waited for.
TEST(SimStream, AWaitTeachesWhatItWaitedForAndNotBeforeItReturns) {
  const std::function<void(Machine&, Stream, Event)> ways[] = {
      [](Machine& m, Stream, Event e) { EXPECT_EQ(m.event_synchronize(e), Result::ok); },
      [](Machine& m, Stream s, Event) { EXPECT_EQ(m.stream_synchronize(0, s), Result::ok); },
      [](Machine& m, Stream, Event) { EXPECT_EQ(m.device_synchronize(0), Result::ok); },
      [](Machine& m, Stream, Event e) {
        while (m.event_query(e) == Result::not_ready) {
        }
      },
      [](Machine& m, Stream s, Event) {
        while (m.stream_query(0, s) == Result::not_ready) {
        }
      },
  };
  for (const auto& wait : ways) {
    Config config = with("lazy");
    config.strict = true;
    config.free_orders = false;
    Machine machine(config);
    const Stream stream = make_stream(machine);
    const Event event = make_event(machine);
    Address waited_for = 0;
    Address later = 0;
    ASSERT_EQ(machine.allocate(0, 512, waited_for), Result::ok);
    ASSERT_EQ(machine.allocate(0, 512, later), Result::ok);
    const auto write = [&](Address at) {
      const Access access{at, 512, true, -1};
      Operation operation;
      operation.name = "writer";
      operation.accesses = {&access, 1};
      EXPECT_EQ(machine.submit(0, stream, operation), Result::ok);
    };
    std::atomic<int> stage{0};
    Operation host;
    host.name = "host function";
    host.host_function = true;
    host.body = [&] {
      stage = 1;
      while (stage != 2) std::this_thread::yield();
    };
    ASSERT_EQ(machine.submit(0, stream, host), Result::ok);
    write(waited_for);
    ASSERT_EQ(machine.event_record(0, event, stream), Result::ok);
    std::thread other([&] {
      while (stage != 1) std::this_thread::yield();
      EXPECT_EQ(machine.free(0, waited_for), Result::ok);
      EXPECT_EQ(machine.violation_count(), 1u) << "the wait is not over";
      write(later);
      stage = 2;
    });
    wait(machine, stream, event);
    other.join();
    EXPECT_EQ(machine.free(0, later), Result::ok);
    EXPECT_EQ(machine.violation_count(), 2u) << "nobody waited for this";
  }
}

// What strict mode keeps is bounded by what lives: a destroyed stream's number is given out again, but not before every
// host thread knows its work to be complete, because the new stream's work would look ordered after the old one's.
TEST(SimStream, ADestroyedStreamsNumberComesBackOnceTheHostKnowsItsWork) {
  for (const char* completion : {"eager", "lazy", "lag:3", "random:1"}) {
    Config config = with(completion);
    config.strict = true;
    Machine machine(config);
    Address block = 0;
    ASSERT_EQ(machine.allocate(0, 512, block), Result::ok);
    const auto write = [&](Stream stream) {
      const Access access{block, 512, true, -1};
      Operation operation;
      operation.name = "writer";
      operation.accesses = {&access, 1};
      EXPECT_EQ(machine.submit(0, stream, operation), Result::ok);
      return machine.violation_count();
    };
    for (int i = 0; i < 500; ++i) {
      const Stream stream = make_stream(machine, i % 2 == 0);
      EXPECT_LE(machine.stream_number(0, stream), 2u) << completion;
      EXPECT_EQ(write(stream), 0u);
      if (i % 3 == 0) {  // before or after it is destroyed
        ASSERT_EQ(machine.stream_synchronize(0, stream), Result::ok);
      }
      ASSERT_EQ(machine.stream_destroy(0, stream), Result::ok);
      EXPECT_EQ(machine.stream_number(0, stream), 0u) << "asking for a dead stream's number breaks no rule";
      ASSERT_EQ(machine.device_synchronize(0), Result::ok);
    }
    const Stream unknown = make_stream(machine);
    EXPECT_EQ(write(unknown), 0u);
    ASSERT_EQ(machine.stream_destroy(0, unknown), Result::ok);
    EXPECT_EQ(write(make_stream(machine)), 1u) << "destroying a stream orders nothing";
  }
}

// A destroyed blocking stream is still followed by the legacy stream; a new stream with its number is not its kind.
TEST(SimStream, TheLegacyStreamFollowsDestroyedBlockingStreams) {
  Config config = with("lazy");
  config.devices = 2;
  Machine machine(config);
  std::string log;
  const Stream blocking = make_stream(machine, false);
  work(machine, blocking, [&] { log += "a"; });
  ASSERT_EQ(machine.stream_destroy(0, blocking), Result::ok);
  work(machine, nullptr, [&] { log += "b"; });
  ASSERT_EQ(machine.stream_synchronize(0, nullptr), Result::ok);
  EXPECT_EQ(log, "ab");
  Stream of_another_device = nullptr;
  ASSERT_EQ(machine.stream_create(1, {}, of_another_device), Result::ok);
  Operation operation;
  operation.name = "work";
  operation.body = [&] { log += "c"; };
  ASSERT_EQ(machine.submit(1, of_another_device, operation), Result::ok);
  work(machine, nullptr, [&] { log += "d"; });
  ASSERT_EQ(machine.stream_synchronize(0, nullptr), Result::ok);
  EXPECT_EQ(log, "abd");
}

TEST(SimStream, AdvanceCountsAsThatManyOperations) {
  Machine machine(with("lag:100"));
  const Event event = make_event(machine);
  ASSERT_EQ(machine.event_record(0, event, make_stream(machine)), Result::ok);
  machine.advance(0, 99);
  EXPECT_EQ(machine.event_query(event), Result::not_ready);
  machine.advance(0, 1);
  EXPECT_EQ(machine.event_query(event), Result::ok);
  EXPECT_EQ(machine.operations(), 101u);
}

TEST(SimStream, ASynchronisationCompletesWhatItDependsOnAndNoMore) {
  Machine machine(with("lazy"));
  const Stream a = make_stream(machine);
  const Stream b = make_stream(machine);
  const Stream c = make_stream(machine);
  const Event event = make_event(machine);
  std::string order;
  work(machine, a, [&] { order += "a1 "; });
  ASSERT_EQ(machine.event_record(0, event, a), Result::ok);
  work(machine, a, [&] { order += "a2 "; });
  ASSERT_EQ(machine.stream_wait_event(0, b, event), Result::ok);
  work(machine, b, [&] { order += "b "; });
  work(machine, c, [&] { order += "c "; });
  EXPECT_EQ(order, "");
  ASSERT_EQ(machine.stream_synchronize(0, b), Result::ok);
  EXPECT_EQ(order, "a1 b ");
  ASSERT_EQ(machine.device_synchronize(0), Result::ok);
  EXPECT_EQ(order, "a1 b a2 c ");
}

TEST(SimStream, AWaitKeepsThePositionThatItSaw) {
  Machine machine(with("lazy"));
  const Stream a = make_stream(machine);
  const Stream b = make_stream(machine);
  const Event event = make_event(machine);
  std::string order;
  work(machine, a, [&] { order += "a1 "; });
  ASSERT_EQ(machine.event_record(0, event, a), Result::ok);
  ASSERT_EQ(machine.stream_wait_event(0, b, event), Result::ok);
  work(machine, a, [&] { order += "a2 "; });
  ASSERT_EQ(machine.event_record(0, event, a), Result::ok);
  ASSERT_EQ(machine.event_destroy(event), Result::ok);
  work(machine, b, [&] { order += "b "; });
  ASSERT_EQ(machine.stream_synchronize(0, b), Result::ok);
  EXPECT_EQ(order, "a1 b ");
}

TEST(SimStream, TheLegacyStreamAndBlockingStreamsFollowEachOther) {
  Machine machine(with("lazy"));
  const Stream blocking = make_stream(machine, false);
  const Stream free = make_stream(machine, true);
  std::string order;
  work(machine, blocking, [&] { order += "blocking1 "; });
  work(machine, free, [&] { order += "free "; });
  work(machine, nullptr, [&] { order += "legacy "; });
  work(machine, blocking, [&] { order += "blocking2 "; });
  work(machine, kPerThreadStream, [&] { order += "per-thread "; });
  ASSERT_EQ(machine.stream_synchronize(0, blocking), Result::ok);
  EXPECT_EQ(order, "blocking1 legacy blocking2 ");
  ASSERT_EQ(machine.stream_synchronize(0, kPerThreadStream), Result::ok);
  EXPECT_EQ(order, "blocking1 legacy blocking2 per-thread ");
}

TEST(SimStream, EachThreadHasItsOwnPerThreadStream) {
  Machine machine(with("lazy"));
  StreamFlags flags;
  int device = 0;
  std::uint64_t mine = 0;
  std::uint64_t other = 0;
  ASSERT_EQ(machine.stream_info(0, kPerThreadStream, flags, device, mine), Result::ok);
  std::thread([&] { ASSERT_EQ(machine.stream_info(0, kPerThreadStream, flags, device, other), Result::ok); }).join();
  EXPECT_NE(mine, other);
}

TEST(SimStream, ManualStepsDoWhatIsReady) {
  Machine machine(with("manual"));
  const Stream a = make_stream(machine);
  const Stream b = make_stream(machine);
  const Event event = make_event(machine);
  work(machine, a);
  ASSERT_EQ(machine.event_record(0, event, a), Result::ok);
  ASSERT_EQ(machine.stream_wait_event(0, b, event), Result::ok);
  EXPECT_EQ(machine.step(0, b, 10), 0u) << "it waits for a";
  EXPECT_EQ(machine.step(0, a, 1), 1u);
  EXPECT_EQ(machine.event_query(event), Result::not_ready);
  EXPECT_EQ(machine.step(0, a, 10), 1u);
  EXPECT_EQ(machine.event_query(event), Result::ok);
  EXPECT_EQ(machine.step(0, b, 10), 1u);
}

TEST(SimStream, AHostThatPollsForeverIsTakenToWait) {
  for (const char* completion : {"lazy", "lag:1000000"}) {
    Machine machine(with(completion));
    const Event event = make_event(machine);
    ASSERT_EQ(machine.event_record(0, event, make_stream(machine)), Result::ok);
    int polls = 0;
    while (machine.event_query(event) == Result::not_ready) ASSERT_LT(++polls, 10000) << completion;
    EXPECT_GT(polls, 100) << completion;
  }
}

// A log of everything that a seed decides.
std::string random_run(std::uint64_t seed) {
  Machine machine(with(("random:" + std::to_string(seed)).c_str()));
  std::vector<Stream> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(make_stream(machine, i % 2 == 0));
  const Event event = make_event(machine);
  std::string log;
  for (int i = 0; i < 400; ++i) {
    const Stream stream = streams[static_cast<std::size_t>(i * 7 % 4)];
    work(machine, stream, [&log, i] { log += std::to_string(i) + " "; });
    if (i % 5 == 0) {
      EXPECT_EQ(machine.event_record(0, event, stream), Result::ok);
    }
    if (i % 3 == 0) log += machine.event_query(event) == Result::ok ? "ready " : "not ";
    if (i % 11 == 0) {
      EXPECT_EQ(machine.stream_wait_event(0, streams[static_cast<std::size_t>(i % 4)], event), Result::ok);
    }
  }
  EXPECT_EQ(machine.device_synchronize(0), Result::ok);
  return log;
}

TEST(SimStream, ASeedOwnsTheSchedule) {
  EXPECT_EQ(random_run(1), random_run(1));
  EXPECT_NE(random_run(1), random_run(2));
}

// A host function that wants a lock whose holder is inside a call of the machine.
TEST(SimStream, HostFunctionsRunOutsideTheMachinesLock) {
  for (const char* completion : {"eager", "lazy", "lag:2"}) {
    Machine machine(with(completion));
    const Stream stream = make_stream(machine);
    std::mutex programs;
    std::atomic<int> ran{0};
    std::atomic<bool> stop{false};
    std::thread other([&] {
      while (!stop) {
        const std::lock_guard lock(programs);
        MemoryInfo info;
        EXPECT_EQ(machine.memory_info(0, info), Result::ok);
      }
    });
    for (int i = 0; i < 200; ++i) {
      Operation operation;
      operation.name = "host function";
      operation.host_function = true;
      operation.body = [&] {
        const std::lock_guard lock(programs);
        ++ran;
      };
      ASSERT_EQ(machine.submit(0, stream, operation), Result::ok);
    }
    ASSERT_EQ(machine.stream_synchronize(0, stream), Result::ok);
    EXPECT_EQ(ran, 200);
    stop = true;
    other.join();
  }
}

TEST(SimStream, ThreadsSubmitAndWaitAtOnce) {
  for (const char* completion : {"eager", "lazy", "lag:10", "random:5"}) {
    Config config = with(completion);
    config.strict = true;
    Machine machine(config);
    std::atomic<int> done{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const Stream stream = make_stream(machine);
        const Event event = make_event(machine);
        for (int i = 0; i < 300; ++i) {
          Operation operation;
          operation.name = "work";
          operation.host_function = i % 3 == 0;
          operation.body = [&] { ++done; };
          EXPECT_EQ(machine.submit(0, stream, operation), Result::ok);
          EXPECT_EQ(machine.event_record(0, event, stream), Result::ok);
          if (i % 7 == 0) {
            EXPECT_EQ(machine.event_synchronize(event), Result::ok);
          }
        }
        EXPECT_EQ(machine.stream_synchronize(0, stream), Result::ok);
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(done, 1200) << completion;
    EXPECT_EQ(machine.violation_count(), 0u);
  }
}

}  // namespace
}  // namespace gapless::driver::sim
