// SPDX-License-Identifier: Apache-2.0
#include "driver/sim/sim_driver.hpp"

#include "driver/result_name.hpp"

namespace gapless::driver::sim {
namespace {

class SimDriver final : public DriverOps {
 public:
  explicit SimDriver(Machine& machine) : machine_(machine) {}

  Result device_count(int& out) override {
    out = machine_.device_count();
    return Result::ok;
  }
  Result device_info(int device, DeviceInfo& out) override { return machine_.device_info(device, out); }
  Result memory_info(int device, MemoryInfo& out) override { return counted(memory_info_).memory_info(device, out); }

  Result address_reserve(std::size_t bytes, std::size_t alignment, Address& out) override {
    return counted(address_reserve_).address_reserve(bytes, alignment, 0, out);
  }
  Result address_free(Address base, std::size_t bytes) override {
    return counted(address_free_).address_free(base, bytes);
  }
  Result create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out) override {
    return counted(create_).create(device, bytes, properties, out);
  }
  Result release(Handle handle) override { return counted(release_).release(handle); }
  Result map(Address base, std::size_t bytes, Handle handle) override {
    return counted(map_).map(base, bytes, 0, handle);
  }
  Result unmap(Address base, std::size_t bytes) override { return counted(unmap_).unmap(base, bytes); }
  Result set_access(Address base, std::size_t bytes, std::span<const int> devices) override {
    return counted(set_access_).set_access(base, bytes, devices, Machine::Permission::read_write);
  }
  Result export_posix_fd(Handle handle, int& out) override { return counted(export_).export_posix_fd(handle, out); }
  Result import_posix_fd(int fd, Handle& out) override { return counted(import_).import_posix_fd(fd, out); }

  Result event_create(int device, Event& out) override {
    return counted(event_create_).event_create(device, out, false);
  }
  Result event_destroy(int /*device*/, Event event) override { return counted(event_destroy_).event_destroy(event); }
  Result event_record(int device, Event event, Stream stream) override {
    return counted(event_record_).event_record(device, event, stream);
  }
  Result event_query(int /*device*/, Event event) override { return counted(event_query_).event_query(event); }
  Result event_synchronize(int /*device*/, Event event) override {
    return counted(event_synchronize_).event_synchronize(event);
  }
  Result stream_wait_event(int device, Stream stream, Event event) override {
    return counted(stream_wait_event_).stream_wait_event(device, stream, event);
  }
  Result stream_synchronize(int device, Stream stream) override {
    return counted(stream_synchronize_).stream_synchronize(device, stream);
  }
  Result device_synchronize(int device) override { return counted(device_synchronize_).device_synchronize(device); }
  Result capture_info(int device, Stream stream, CaptureInfo& out) override {
    return counted(capture_info_).capture_info(device, stream, out);
  }
  Result exchange_capture_mode(int& mode) override { return machine_.exchange_capture_mode(mode); }

  const char* result_name(Result result) override { return driver::result_name(result); }

 private:
  Machine& counted(int id) {
    machine_.count(id);
    return machine_;
  }

  Machine& machine_;
  const int memory_info_ = machine_.call_id("cuMemGetInfo");
  const int address_reserve_ = machine_.call_id("cuMemAddressReserve");
  const int address_free_ = machine_.call_id("cuMemAddressFree");
  const int create_ = machine_.call_id("cuMemCreate");
  const int release_ = machine_.call_id("cuMemRelease");
  const int map_ = machine_.call_id("cuMemMap");
  const int unmap_ = machine_.call_id("cuMemUnmap");
  const int set_access_ = machine_.call_id("cuMemSetAccess");
  const int export_ = machine_.call_id("cuMemExportToShareableHandle");
  const int import_ = machine_.call_id("cuMemImportFromShareableHandle");
  const int event_create_ = machine_.call_id("cuEventCreate");
  const int event_destroy_ = machine_.call_id("cuEventDestroy");
  const int event_record_ = machine_.call_id("cuEventRecord");
  const int event_query_ = machine_.call_id("cuEventQuery");
  const int event_synchronize_ = machine_.call_id("cuEventSynchronize");
  const int stream_wait_event_ = machine_.call_id("cuStreamWaitEvent");
  const int stream_synchronize_ = machine_.call_id("cuStreamSynchronize");
  const int device_synchronize_ = machine_.call_id("cuCtxSynchronize");
  const int capture_info_ = machine_.call_id("cuStreamGetCaptureInfo");
};

}  // namespace

std::unique_ptr<DriverOps> make_sim_driver(Machine& machine) {
  return std::make_unique<SimDriver>(machine);
}

}  // namespace gapless::driver::sim
