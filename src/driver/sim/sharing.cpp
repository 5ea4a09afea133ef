// SPDX-License-Identifier: Apache-2.0
// Memory that several machines see, each in a process of its own.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "driver/sim/core.hpp"

namespace gapless::driver::sim {

namespace {

bool own(const SharedMemory& memory, int machine) {
  return memory.process == ::getpid() && memory.machine == machine;
}

std::uint64_t inode_of(int file) {
  struct stat status {};
  return file >= 0 && ::fstat(file, &status) == 0 ? status.st_ino : 0;
}

}  // namespace

SharedMemory Memory::share(Handle handle, int machine) {
  Backing& backing = *backings_.find(handle);
  backing.shared = true;
  SharedMemory out;
  out.magic = kSharedMagic;
  out.process = ::getpid();
  out.machine = machine;
  out.file = backing.foreign ? backing.file : host_.file();
  out.device = backing.device;
  out.place = backing.place;
  out.bytes = backing.bytes;
  out.inode = inode_of(out.file);
  out.handle = handle;
  return out;
}

// The file is opened anew, so that the bytes outlive the process that shared them, as memory does; once for all that is
// shared of it.
Result Memory::open_file(const SharedMemory& memory, int& out) {
  for (OtherFile& one : other_files_)
    if (one.inode == memory.inode) {
      one.users++;
      out = one.file;
      return Result::ok;
    }
  const std::string path = "/proc/" + std::to_string(memory.process) + "/fd/" + std::to_string(memory.file);
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return errno == EMFILE || errno == ENFILE ? Result::out_of_memory : Result::invalid_value;
  if (inode_of(file) != memory.inode) {
    ::close(file);
    return Result::invalid_value;
  }
  other_files_.push_back(OtherFile{memory.inode, file, 1});
  out = file;
  return Result::ok;
}

void Memory::leave_file(int file) {
  const auto one =
      std::find_if(other_files_.begin(), other_files_.end(), [&](const OtherFile& each) { return each.file == file; });
  if (--one->users != 0) return;
  ::close(file);
  other_files_.erase(one);
}

Result Memory::adopt(const SharedMemory& memory, const HandleProperties& properties, Handle& out) {
  if (memory.device < 0 || memory.device >= common_.config.devices) return Result::invalid_device;
  Backing backing;
  backing.device = memory.device;
  backing.bytes = memory.bytes;
  backing.held = 1;
  backing.foreign = true;
  backing.properties = properties;
  backing.place = memory.place;
  if (host_.data()) {
    if (const Result result = open_file(memory, backing.file); result != Result::ok) return result;
  }
  out = backings_.insert(std::move(backing));
  return Result::ok;
}

Result Memory::ipc_share(Address inside, int machine, SharedMemory& out) {
  Address base = 0;
  const Region* region = find(inside, base);
  if ((region == nullptr || region->kind != MemoryKind::linear || opens(base) != 0) &&
      common_.violate("IPC-1", text("cuIpcGetMemHandle of 0x%llx, which cuMemAlloc did not give", ull(inside)))) {
    return Result::invalid_value;
  }
  if (region == nullptr || backings_.find(region->backing) == nullptr) return Result::invalid_value;
  out = share(region->backing, machine);
  return Result::ok;
}

Result Memory::ipc_open(const SharedMemory& memory, int machine, Address& out) {
  if (memory.magic != kSharedMagic) return Result::invalid_value;
  if (own(memory, machine) &&
      common_.violate("IPC-2", text("cuIpcOpenMemHandle in the process that made the handle"))) {
    return Result::invalid_context;
  }
  for (auto& [at, opened] : opened_) {
    if (opened.memory != memory) continue;
    ++opened.times;
    out = at;
    return Result::ok;
  }
  Handle backing = 0;
  if (const Result result = adopt(memory, {.posix_fd = true}, backing); result != Result::ok) return result;
  Backing& adopted = *backings_.find(backing);
  const std::uint64_t spaced = round_up(memory.bytes, kGranule);
  const Address at = space_.take(spaced, kGranule);
  if (at == 0 || !host_.show(at, memory.bytes, adopted.place, adopted.file)) {
    if (at != 0) space_.give(at, spaced);
    adopted.held = 0;
    drop_if_unused(backing);
    return Result::out_of_memory;
  }
  adopted.held = 0;
  adopted.shown = 1;
  Region region;
  region.kind = MemoryKind::linear;
  region.bytes = memory.bytes;
  region.device = memory.device;
  region.backing = backing;
  region.readable = region.writable = bit(memory.device);
  regions_.emplace(at, std::move(region));
  opened_[at] = {memory, 1};
  out = at;
  return Result::ok;
}

Result Memory::ipc_close(Address base, const Clock* known) {
  const auto it = opened_.find(base);
  if (it == opened_.end()) {
    common_.violate("IPC-3", text("cuIpcCloseMemHandle of 0x%llx, which cuIpcOpenMemHandle did not give", ull(base)));
    return Result::invalid_value;
  }
  if (--it->second.times != 0) return Result::ok;
  opened_.erase(it);
  end_linear(regions_.find(base), "cuIpcCloseMemHandle", kGranule, known);
  return Result::ok;
}

std::uint64_t Memory::opens(Address base) const {
  const auto it = opened_.find(base);
  return it != opened_.end() ? it->second.times : 0;
}

Result Machine::Core::exportable(Handle handle, bool HandleProperties::*kind) {
  if (const Result result = handle_state(handle); result != Result::ok) return result;
  const Backing* const backing = memory.held(handle);
  if (backing == nullptr) {
    common.violate("HDL-2", text("export of 0x%llx, which is not a handle that the program holds", ull(handle)));
    return Result::invalid_value;
  }
  if (!(backing->properties.*kind) &&
      common.violate("HDL-3", text("export of 0x%llx, which was not created for it", ull(handle)))) {
    return Result::invalid_value;
  }
  return Result::ok;
}

// What this machine made is not adopted: its own handle is held once more.
Result Machine::Core::import(const SharedMemory& named, const std::string& what, const HandleProperties& properties,
                             Handle& out) {
  if (named.magic != kSharedMagic) {
    common.violate("HDL-4", text("import of %s, which stands for no memory", what.c_str()));
    return Result::invalid_value;
  }
  if (!own(named, number)) return memory.adopt(named, properties, out);
  if (const Result result = memory.hold(named.handle); result != Result::ok) return result;
  out = named.handle;
  return Result::ok;
}

// The descriptor is a real one, so that it can be closed and sent. What stands in it says where the memory is.
Result Machine::export_posix_fd(Handle handle, int& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->exportable(handle, &HandleProperties::posix_fd); result != Result::ok) return result;
  const int fd = ::memfd_create("gapless-sim-handle", MFD_CLOEXEC);
  const SharedMemory memory = core_->memory.share(handle, core_->number);
  if (fd < 0 || ::pwrite(fd, &memory, sizeof memory, 0) != static_cast<ssize_t>(sizeof memory)) {
    if (fd >= 0) ::close(fd);
    return Result::out_of_memory;
  }
  out = fd;
  return Result::ok;
}

Result Machine::import_posix_fd(int fd, Handle& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->process_state(); result != Result::ok) return result;
  SharedMemory memory;
  if (::pread(fd, &memory, sizeof memory, 0) != static_cast<ssize_t>(sizeof memory)) memory = {};
  return core_->import(memory, "descriptor " + std::to_string(fd), {.posix_fd = true}, out);
}

// A fabric handle is bytes alone: whoever has them may import them.
Result Machine::export_fabric(Handle handle, SharedMemory& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->exportable(handle, &HandleProperties::fabric); result != Result::ok) return result;
  out = core_->memory.share(handle, core_->number);
  return Result::ok;
}

Result Machine::import_fabric(const SharedMemory& memory, Handle& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->process_state(); result != Result::ok) return result;
  if (!core_->common.config.fabric) return Result::not_supported;
  if (!core_->common.config.fabric_permitted) return code::not_permitted;
  return core_->import(memory, "a fabric handle", {.fabric = true}, out);
}

Result Machine::ipc_share(Address inside, SharedMemory& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->range_state(inside); result != Result::ok) return result;
  return core_->memory.ipc_share(inside, core_->number, out);
}

Result Machine::ipc_open(const SharedMemory& memory, Address& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->process_state(); result != Result::ok) return result;
  return core_->memory.ipc_open(memory, core_->number, out);
}

// The last close takes the memory away, as cuMemFree does.
Result Machine::ipc_close(Address base) {
  Lock lock = core_->enter();
  if (const Result result = core_->range_state(base); result != Result::ok) return result;
  Address start = 0;
  if (core_->memory.opens(base) == 1)
    core_->wait_before_free(lock, core_->memory.find(base, start)->device, core_->common.config.free_orders);
  return core_->memory.ipc_close(base, core_->known());
}

}  // namespace gapless::driver::sim
