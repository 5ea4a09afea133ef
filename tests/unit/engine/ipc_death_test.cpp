// SPDX-License-Identifier: Apache-2.0
// Processes that share memory end, fork, or hold a connection and say nothing.
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>
#include <vector>

#include "ipc_process.hpp"

namespace gapless::engine {
namespace {

using Clock = std::chrono::steady_clock;

int connect_to(const HandleBytes& handle) {
  capi::IpcHandle given;
  std::memcpy(&given, handle.data(), sizeof given);
  const capi::IpcSocketName name(given.server);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.path.data(), name.length);
  const int made = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.length);
  if (::connect(made, reinterpret_cast<const sockaddr*>(&address), length) == 0) return made;
  ::close(made);
  return -1;
}

TEST(IpcDeathTest, NoFileStaysOpen) {
  HandleBytes handle{};
  std::size_t offset = 0;
  char* base = nullptr;
  const std::size_t before = open_files();
  {
    Process here, there;
    void* const block = here.allocate(9 * kMiB);
    ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
    ASSERT_EQ(there.import(handle, base), GAPLESS_OK) << gapless_last_error();
    ASSERT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
    const std::size_t steady = open_files();
    for (int i = 0; i < 50; i++) {
      ASSERT_EQ(there.import(handle, base), GAPLESS_OK) << gapless_last_error();
      ASSERT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
    }
    EXPECT_TRUE(open_files_fall_to(steady));
    here.free(block);
  }
  EXPECT_EQ(open_files(), before);
}

TEST(IpcDeathTest, WhoSaysNothingHoldsNobodyUp) {
  Process here, there;
  HandleBytes handle{};
  std::size_t offset = 0;
  char* base = nullptr;
  void* const block = here.allocate(9 * kMiB);
  ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
  std::vector<int> silent;
  for (int i = 0; i < 100; i++) {
    silent.push_back(connect_to(handle));
    ASSERT_GE(silent.back(), 0);
    if (i % 3 == 0) {
      ASSERT_EQ(::send(silent.back(), "nonsense", 8, MSG_NOSIGNAL), 8);
    }
  }
  const auto begun = Clock::now();
  ASSERT_EQ(there.import(handle, base), GAPLESS_OK) << gapless_last_error();
  EXPECT_LT(Clock::now() - begun, std::chrono::seconds(10));
  EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK);
  for (const int one : silent) ::close(one);
  here.free(block);
}

#if !defined(__SANITIZE_THREAD__)

// What the parent reads of a child process: a handle and where the block is in it.
struct Sent {
  HandleBytes handle{};
  std::size_t offset = 0;
};

TEST(IpcDeathTest, TheExporterIsKilled) {
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::alarm(60);
    Process exporter;
    Sent sent;
    void* const block = exporter.allocate(9 * kMiB);
    std::strcpy(exporter.bytes_of(block, 6), "hello");
    const bool fine = exporter.share(block, sent.handle, sent.offset) == GAPLESS_OK &&
                      ::write(pipes[1], &sent, sizeof sent) == static_cast<ssize_t>(sizeof sent);
    if (!fine) ::_exit(1);
    for (;;) ::pause();
  }
  Sent sent;
  ASSERT_EQ(::read(pipes[0], &sent, sizeof sent), static_cast<ssize_t>(sizeof sent));
  ::close(pipes[0]);
  ::close(pipes[1]);
  Process importer;
  char* base = nullptr;
  ASSERT_EQ(importer.import(sent.handle, base), GAPLESS_OK) << gapless_last_error();
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_STREQ(importer.bytes_of(base + sent.offset, 6), "hello") << "memory outlives who made it";
  char* again = nullptr;
  const auto begun = Clock::now();
  EXPECT_EQ(importer.import(sent.handle, again), GAPLESS_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(gapless_last_error(), "the process that shared the memory does not answer");
  EXPECT_LT(Clock::now() - begun, std::chrono::seconds(10));
  EXPECT_EQ(gapless_ipc_close(importer.allocator, base), GAPLESS_OK);
}

TEST(IpcDeathTest, AForkedChildSharesNothingAndKeepsNothing) {
  Process there;
  HandleBytes handle{};
  std::size_t offset = 0;
  char* base = nullptr;
  pid_t child = 0;
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  {
    Process here;
    void* const block = here.allocate(9 * kMiB);
    ASSERT_EQ(here.share(block, handle, offset), GAPLESS_OK);
    ASSERT_EQ(there.import(handle, base), GAPLESS_OK);
    child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::alarm(60);
      const std::uint64_t calls = there.faults->memory_calls();
      std::size_t length = 0;
      bool fine = gapless_ipc_export(here.allocator, block, handle.data(), handle.size(), &length, &offset) ==
                  GAPLESS_ERROR_UNSUPPORTED;
      char* none = nullptr;
      fine = fine && there.import(handle, none) == GAPLESS_ERROR_UNSUPPORTED;
      fine = fine && gapless_ipc_close(there.allocator, base) == GAPLESS_ERROR_UNKNOWN_POINTER;
      fine = fine && there.faults->memory_calls() == calls;
      char asked = fine ? 'y' : 'n';
      fine = ::write(pipes[1], &asked, 1) == 1 && fine;
      for (;;) ::pause();
    }
    char said = 0;
    ASSERT_EQ(::read(pipes[0], &said, 1), 1);
    EXPECT_EQ(said, 'y');
    EXPECT_EQ(gapless_ipc_close(there.allocator, base), GAPLESS_OK) << "the parent's import is its own";
    here.free(block);
  }
  EXPECT_EQ(connect_to(handle), -1) << "the child, which still runs, does not keep the socket";
  EXPECT_EQ(::kill(child, SIGKILL), 0);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  ::close(pipes[0]);
  ::close(pipes[1]);
}

#endif

}  // namespace
}  // namespace gapless::engine
