// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/isolate.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <iostream>

#include "tools/replay/shared_library.hpp"

namespace gapless::tools {
namespace {

constexpr char kResult = 'R';
constexpr char kSetupError = 'S';
constexpr char kOtherError = 'E';

struct Child {
  pid_t process;
  int pipe;
};

void write_all(int file, const std::string& bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(file, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    done += static_cast<std::size_t>(n);
  }
}

std::string read_all(int file) {
  std::string bytes;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = read(file, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return bytes;
    bytes.append(buffer, static_cast<std::size_t>(n));
  }
}

std::string run_task(const std::function<ReplayResult()>& task) {
  try {
    return kResult + serialize(task());
  } catch (const SetupError& error) {
    return std::string(1, kSetupError) + error.what();
  } catch (const std::exception& error) {
    return std::string(1, kOtherError) + error.what();
  }
}

Child start(const std::function<ReplayResult()>& task) {
  int ends[2];
  if (pipe(ends) != 0) throw SetupError(std::string("pipe: ") + std::strerror(errno));
  std::cout.flush();
  std::fflush(nullptr);
  const pid_t process = fork();
  if (process < 0) throw SetupError(std::string("fork: ") + std::strerror(errno));
  if (process == 0) {
    close(ends[0]);
    write_all(ends[1], run_task(task));
    std::fflush(nullptr);
    // No exit handlers: libraries of CUDA's kind are not made to be torn down with work in flight.
    _exit(0);
  }
  close(ends[1]);
  return {process, ends[0]};
}

ReplayResult collect(const Child& child) {
  const std::string bytes = read_all(child.pipe);
  close(child.pipe);
  int status = 0;
  while (waitpid(child.process, &status, 0) < 0 && errno == EINTR) {
  }
  ReplayResult failed;
  if (WIFSIGNALED(status)) {
    failed.error = std::string("the replaying process was killed: ") + strsignal(WTERMSIG(status));
    return failed;
  }
  const std::string payload = bytes.empty() ? "" : bytes.substr(1);
  switch (bytes.empty() ? '\0' : bytes[0]) {
    case kResult:
      return deserialize(payload);
    case kSetupError:
      throw SetupError(payload);
    case kOtherError:
      failed.error = payload;
      return failed;
    default:
      failed.error = "the replaying process ended with status " + std::to_string(WEXITSTATUS(status));
      return failed;
  }
}

}  // namespace

std::vector<ReplayResult> run_isolated(const std::vector<std::function<ReplayResult()>>& tasks, int jobs) {
  std::vector<ReplayResult> results;
  std::deque<Child> running;
  for (std::size_t next = 0; results.size() < tasks.size();) {
    while (next < tasks.size() && running.size() < static_cast<std::size_t>(jobs))
      running.push_back(start(tasks[next++]));
    const Child oldest = running.front();
    running.pop_front();
    results.push_back(collect(oldest));
  }
  return results;
}

}  // namespace gapless::tools
