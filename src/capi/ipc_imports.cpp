// SPDX-License-Identifier: Apache-2.0
#include "capi/ipc_imports.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "capi/ipc_descriptors.hpp"
#include "driver/failed.hpp"

namespace gapless::capi {

namespace {

using driver::Result;

class Connection {
 public:
  explicit Connection(const IpcHandle& handle) {
    const IpcSocketName name(handle.server);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.path.data(), name.length);
    socket_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const timeval patience{kSecondsToAnswer, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.length);
    connected_ = socket_ >= 0 && ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), length) == 0 &&
                 same_user(socket_);
  }
  ~Connection() {
    if (socket_ >= 0) ::close(socket_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool connected() const { return connected_; }

  bool ask(const IpcRequest& request, IpcAnswer& answer, IpcDescriptors& descriptors) const {
    if (::send(socket_, &request, sizeof request, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof request)) return false;
    iovec data{&answer, sizeof answer};
    IpcControl control;
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    ssize_t got;
    do {
      got = ::recvmsg(socket_, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return false;
    // One at most: the kernel joins the descriptors of a message.
    const cmsghdr* const header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
      const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; i++) {
        int one;
        std::memcpy(&one, CMSG_DATA(header) + i * sizeof one, sizeof one);
        descriptors.add(one);
      }
    }
    // Cut short: this process may not open as many files.
    return got == static_cast<ssize_t>(sizeof answer) && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  }

 private:
  int socket_ = -1;
  bool connected_ = false;
};

}  // namespace

// Descriptors are closed as soon as the driver has taken them.
Status IpcImports::fetch(driver::DriverOps& ops, const IpcHandle& handle, Import& import) {
  const Connection connection(handle);
  if (!connection.connected())
    return base::fail(Status::invalid_argument, "the process that shared the memory does not answer");
  import.handles.reserve(handle.granules);
  while (import.handles.size() < handle.granules) {
    IpcRequest request{};
    request.secret = handle.secret;
    request.id = handle.id;
    request.first = import.handles.size();
    request.count = std::min(kMostDescriptors, handle.granules - request.first);
    request.granule_bytes = handle.granule_bytes;
    request.device = handle.device;
    IpcAnswer answer{};
    IpcDescriptors descriptors;
    if (!connection.ask(request, answer, descriptors))
      return base::fail(Status::invalid_argument, "the process that shared the memory did not hand it out");
    if (answer.status != 0) return base::fail(Status::not_found, "the process that shared the memory has it no more");
    if (descriptors.size() != request.count)
      return base::fail(Status::invalid_argument, "the process that shared the memory handed out too little");
    for (const int descriptor : descriptors) {
      driver::Handle one = 0;
      const Result result = ops.import_posix_fd(descriptor, one);
      if (result != Result::ok) return driver::failed(ops, "cuMemImportFromShareableHandle", result);
      import.handles.push_back(one);
    }
  }
  return Status::ok;
}

Status IpcImports::map(driver::DriverOps& ops, Import& import) {
  import.bytes = import.granule * import.handles.size();
  if (const Result result = ops.address_reserve(import.bytes, 0, import.reserved); result != Result::ok) {
    import.reserved = 0;
    if (result == Result::out_of_memory)
      return base::fail(Status::out_of_memory, "no addresses for memory of another process");
    return driver::failed(ops, "cuMemAddressReserve", result);
  }
  for (const driver::Handle handle : import.handles) {
    const Result result = ops.map(import.reserved + import.mapped, import.granule, handle);
    if (result != Result::ok) return driver::failed(ops, "cuMemMap", result);
    import.mapped += import.granule;
  }
  const Result result = ops.set_access(import.reserved, import.bytes, {&import.device, 1});
  return result == Result::ok ? Status::ok : driver::failed(ops, "cuMemSetAccess", result);
}

// What is left of it after a failure stays in `import`, and may be undone later.
Status IpcImports::undo(driver::DriverOps& ops, Import& import) {
  if (import.mapped > 0) {
    const Result result = ops.unmap(import.reserved, import.mapped);
    if (result != Result::ok) return driver::failed(ops, "cuMemUnmap", result);
    import.mapped = 0;
  }
  while (!import.handles.empty()) {
    const Result result = ops.release(import.handles.back());
    if (result != Result::ok) return driver::failed(ops, "cuMemRelease", result);
    import.handles.pop_back();
  }
  if (import.reserved != 0) {
    const Result result = ops.address_free(import.reserved, import.bytes);
    if (result != Result::ok) return driver::failed(ops, "cuMemAddressFree", result);
    import.reserved = 0;
  }
  return Status::ok;
}

Status IpcImports::open(driver::DriverOps& ops, int device, std::uint64_t granularity, const IpcHandle& handle,
                        driver::Address& base) {
  // A granule of the exporting process that this device does not know cannot be mapped; 2^20 of 2 MiB are 2 TiB.
  constexpr std::uint64_t kMostGranules = std::uint64_t{1} << 20;
  if (handle.magic != kIpcMagic || handle.granules == 0 || handle.granules > kMostGranules ||
      handle.granule_bytes == 0 || handle.granule_bytes % granularity != 0 ||
      handle.granule_bytes > (std::uint64_t{1} << 40))
    return base::fail(Status::invalid_argument, "not a handle of shared memory for this device");
  Imports made;
  Import& import = made.emplace(0, Import())->second;
  import.device = device;
  import.granule = handle.granule_bytes;
  Status status = fetch(ops, handle, import);
  if (status == Status::ok) status = map(ops, import);
  Imports::node_type node = made.extract(made.begin());
  node.key() = import.reserved;
  if (status == Status::ok) {
    base = import.reserved;
    const std::lock_guard guard(lock_);
    imports_.insert(std::move(node));
    return status;
  }
  const std::string why = base::last_error();
  if (undo(ops, import) != Status::ok) {  // nothing has used it
    const std::lock_guard guard(lock_);
    closed_.insert(std::move(node));
  }
  return base::fail(status, why);
}

Status IpcImports::close(driver::DriverOps& ops, const Wait& wait, driver::Address base) {
  Imports::node_type import;
  {
    const std::lock_guard guard(lock_);
    import = imports_.extract(base);
  }
  if (import.empty()) return base::fail(Status::unknown_pointer, "no memory of another process was mapped there");
  sweep(ops, wait);
  const Status status = end(ops, wait, std::move(import));
  return status == Status::in_capture ? Status::ok : status;
}

Status IpcImports::end(driver::DriverOps& ops, const Wait& wait, Imports::node_type import) {
  Status status = wait(import.mapped().device);
  if (status == Status::ok) status = undo(ops, import.mapped());
  if (status == Status::ok) return status;
  const std::lock_guard guard(lock_);
  closed_.insert(std::move(import));
  return status;
}

void IpcImports::sweep(driver::DriverOps& ops, const Wait& wait) {
  Imports closed;
  {
    const std::lock_guard guard(lock_);
    closed.swap(closed_);
  }
  while (!closed.empty()) static_cast<void>(end(ops, wait, closed.extract(closed.begin())));
}

void IpcImports::close_all(driver::DriverOps& ops, const Wait& wait) {
  {
    const std::lock_guard guard(lock_);
    closed_.merge(imports_);
  }
  sweep(ops, wait);
}

void IpcImports::prepare_fork() {
  while (!lock_.try_lock()) std::this_thread::yield();
}

void IpcImports::after_fork(bool child) {
  if (child) {
    imports_.clear();
    closed_.clear();
  }
  lock_.unlock();
}

}  // namespace gapless::capi
