// SPDX-License-Identifier: Apache-2.0
#include "capi/ipc_server.hpp"

#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <system_error>
#include <vector>

namespace gapless::capi {

namespace {

bool fill_randomly(std::array<std::uint8_t, 16>& bytes) {
  return ::getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
}

// No early end: the time it takes says nothing about how much was right.
bool same_secret(const std::array<std::uint8_t, 16>& a, const std::array<std::uint8_t, 16>& b) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); i++) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

// The kernel's word on who is at the other end.
bool same_user(int connection) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == ::geteuid();
}

void send_answer(int connection, IpcAnswer answer, const std::vector<int>& descriptors) {
  iovec data{&answer, sizeof answer};
  std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  }
  // Whoever asked may be gone.
  [[maybe_unused]] const ssize_t sent = ::sendmsg(connection, &message, MSG_NOSIGNAL);
}

}  // namespace

Status IpcServer::start() {
  if (listening_ >= 0) {
    if (owner_ == ::getpid()) return Status::ok;
    return base::fail(Status::unsupported, "a forked child of a process that shared memory cannot share any itself");
  }
  if (!fill_randomly(name_) || !fill_randomly(secret_))
    return base::fail(Status::internal, "getrandom: the kernel has no random bytes");
  const IpcSocketName name(name_);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.path.data(), name.length);
  const int listening = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.length);
  if (listening < 0 || ::bind(listening, reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      ::listen(listening, 64) != 0) {
    const std::string why = std::strerror(errno);
    if (listening >= 0) ::close(listening);
    return base::fail(Status::internal, "a socket for sharing memory: " + why);
  }
  // The program's signal handlers run on its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  listening_ = listening;
  owner_ = ::getpid();
  std::string why;
  try {
    thread_ = std::thread([this] { serve(); });
  } catch (const std::system_error& error) {
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
  if (owner_ == ::getpid()) {
    ::shutdown(listening_, SHUT_RDWR);  // ends accept()
    thread_.join();
  } else if (thread_.joinable()) {
    thread_.detach();  // it did not come along into this process
  }
  ::close(listening_);
}

void IpcServer::sign(IpcHandle& handle) const {
  handle.magic = kIpcMagic;
  handle.server = name_;
  handle.secret = secret_;
}

void IpcServer::serve() const {
  for (;;) {
    const int connection = ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EMFILE && errno != ENFILE) return;  // shut down
      ::usleep(10'000);                                // the program has all files open: later
      continue;
    }
    answer(connection);
    ::close(connection);
  }
}

// One connection serves one import; who asks nothing for a while is not waited for.
void IpcServer::answer(int connection) const {
  const timeval patience{kSecondsToAnswer, 0};
  ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (!same_user(connection)) return;
  IpcRequest request;
  while (::recv(connection, &request, sizeof request, 0) == static_cast<ssize_t>(sizeof request)) {
    if (!same_secret(request.secret, secret_) || request.count == 0 || request.count > kMostDescriptors) return;
    std::vector<int> descriptors;
    Status status = Status::ok;
    for (std::uint64_t i = 0; i < request.count && status == Status::ok; i++) {
      int descriptor = -1;
      status = share_(request, request.first + i, descriptor);
      if (status == Status::ok) descriptors.push_back(descriptor);
    }
    const bool fine = status == Status::ok;
    send_answer(connection,
                IpcAnswer{static_cast<std::int32_t>(status), fine ? static_cast<std::uint32_t>(descriptors.size()) : 0},
                fine ? descriptors : std::vector<int>{});
    for (const int descriptor : descriptors) ::close(descriptor);
    if (!fine) return;
  }
}

}  // namespace gapless::capi
