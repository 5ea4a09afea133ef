// SPDX-License-Identifier: Apache-2.0
#include "capi/ipc_server.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <exception>
#include <system_error>

#include "capi/ipc_descriptors.hpp"

namespace gapless::capi {

namespace {

// Who holds a connection and asks nothing makes room for the next.
constexpr std::size_t kMostConnections = 64;
constexpr unsigned kPauseMicroseconds = 10'000;

bool send_answer(int connection, Status status, const IpcDescriptors& descriptors) {
  IpcAnswer answer{static_cast<std::int32_t>(status), static_cast<std::uint32_t>(descriptors.size())};
  iovec data{&answer, sizeof answer};
  IpcControl control;
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (descriptors.size() > 0) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  }
  // Whoever asked may be gone, or does not read its answers.
  return ::sendmsg(connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(sizeof answer);
}

}  // namespace

Status IpcServer::start() {
  if (listening_ >= 0) return Status::ok;
  if (::getrandom(name_.data(), name_.size(), 0) != static_cast<ssize_t>(name_.size()))
    return base::fail(Status::internal, "getrandom: the kernel has no random bytes");
  const IpcSocketName name(name_);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.path.data(), name.length);
  const int listening = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.length);
  if (listening < 0 || ::bind(listening, reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      ::listen(listening, static_cast<int>(kMostConnections)) != 0) {
    const std::string why = std::strerror(errno);
    if (listening >= 0) ::close(listening);
    return base::fail(Status::internal, "a socket for sharing memory: " + why);
  }
  // The program's signal handlers run on its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  listening_ = listening;
  std::string why;
  try {
    thread_ = std::make_unique<std::thread>([this] { serve(); });
  } catch (const std::exception& error) {
    why = error.what();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (why.empty()) return Status::ok;
  ::close(listening);
  listening_ = -1;
  return base::fail(Status::internal, "a thread for sharing memory: " + why);
}

IpcServer::~IpcServer() {
  if (listening_ < 0) return;
  ::shutdown(listening_, SHUT_RDWR);  // wakes the thread, which then ends
  thread_->join();
  ::close(listening_);
}

void IpcServer::leave() {
  if (listening_ < 0) return;
  // Neither joined nor detached: the library would look at a thread that does not exist.
  static_cast<void>(thread_.release());
  ::close(listening_);
  listening_ = -1;
}

// Nobody is waited for: whoever has connected is heard when it has something to say.
void IpcServer::serve() const {
  std::array<pollfd, 1 + kMostConnections> watched{};
  watched[0] = pollfd{listening_, POLLIN, 0};
  std::size_t count = 1;
  const auto end = [&](std::size_t which) {
    ::close(watched[which].fd);
    std::copy(watched.begin() + static_cast<std::ptrdiff_t>(which) + 1,
              watched.begin() + static_cast<std::ptrdiff_t>(count),
              watched.begin() + static_cast<std::ptrdiff_t>(which));
    count--;
  };
  for (;;) {
    if (::poll(watched.data(), count, -1) < 0) {
      if (errno != EINTR) ::usleep(kPauseMicroseconds);
      continue;
    }
    if ((watched[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) break;  // shut down
    for (std::size_t i = count; i-- > 1;)
      if (watched[i].revents != 0 && !answer(watched[i].fd)) end(i);
    const int fresh = watched[0].revents != 0 ? admit() : -1;
    if (fresh < 0) continue;
    if (count == watched.size()) end(1);
    watched[count++] = pollfd{fresh, POLLIN, 0};
  }
  while (count > 1) end(count - 1);
}

int IpcServer::admit() const {
  const int connection = ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (connection < 0) {
    if (errno == EMFILE || errno == ENFILE) ::usleep(kPauseMicroseconds);  // the program has all files open: later
    return -1;
  }
  if (same_user(connection)) return connection;
  ::close(connection);
  return -1;
}

// One request. False: the connection is over.
bool IpcServer::answer(int connection) const {
  IpcRequest request;
  const ssize_t got = ::recv(connection, &request, sizeof request, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (got != static_cast<ssize_t>(sizeof request) || request.count == 0 || request.count > kMostDescriptors)
    return false;
  IpcDescriptors descriptors;
  Status status = Status::ok;
  try {
    for (std::uint64_t i = 0; i < request.count; i++) {
      int descriptor = -1;
      status = share_(request, request.first + i, descriptor);
      if (status != Status::ok) break;
      descriptors.add(descriptor);
    }
  } catch (const std::exception&) {
    return false;  // no memory on the host
  }
  if (status == Status::ok) return send_answer(connection, status, descriptors);
  static_cast<void>(send_answer(connection, status, IpcDescriptors()));
  return false;
}

}  // namespace gapless::capi
