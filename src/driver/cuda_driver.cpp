// SPDX-License-Identifier: Apache-2.0
#include "driver/cuda_driver.hpp"

#include <array>
#include <atomic>
#include <mutex>

#include "driver/cuda_functions.hpp"
#include "driver/result_name.hpp"

namespace gapless::driver {
namespace {

using cuda::Context;

constexpr int kMostDevices = 128;  // PyTorch supports 120

// Makes a context current for a scope, and pushes only where it is not current already: the usual thread of a PyTorch
// program has the right one, and then this costs one call that reads a thread-local.
class ContextScope {
 public:
  ContextScope(const cuda::Functions& functions, Context context) : functions_(functions) {
    Context current = nullptr;
    if (functions_.context_get_current(&current) == 0 && current == context) return;
    result_ = static_cast<Result>(functions_.context_push(context));
    pushed_ = result_ == Result::ok;
  }
  ~ContextScope() {
    Context popped = nullptr;
    if (pushed_) functions_.context_pop(&popped);
  }
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

  Result result() const { return result_; }

 private:
  const cuda::Functions& functions_;
  Result result_ = Result::ok;
  bool pushed_ = false;
};

class CudaDriver final : public DriverOps {
 public:
  explicit CudaDriver(const cuda::Functions& functions) : functions_(functions) {}

  Result device_count(int& out) override {
    if (const Result result = initialise(); result != Result::ok) return result;
    return as_result(functions_.device_get_count(&out));
  }

  Result device_info(int device, DeviceInfo& out) override {
    if (const Result result = initialise(); result != Result::ok) return result;
    cuda::Device ordinal = 0;
    if (const Result result = as_result(functions_.device_get(&ordinal, device)); result != Result::ok) return result;
    DeviceInfo info;
    if (const Result result = as_result(functions_.device_total_memory(&info.total_bytes, ordinal));
        result != Result::ok)
      return result;
    // An attribute that a driver does not know is a feature that it does not have.
    const auto attribute = [&](int which) {
      int value = 0;
      return functions_.device_get_attribute(&value, which, ordinal) == 0 ? value : 0;
    };
    const auto has = [&](int which) { return attribute(which) != 0; };
    info.virtual_memory = has(cuda::kAttributeVirtualMemory);
    info.gpu_direct_rdma = has(cuda::kAttributeGpuDirectRdma);
    info.posix_handles = has(cuda::kAttributePosixFd);
    info.fabric_handles = has(cuda::kAttributeFabric);
    info.resident_threads = static_cast<std::uint64_t>(attribute(cuda::kAttributeMultiprocessors)) *
                            static_cast<std::uint64_t>(attribute(cuda::kAttributeThreadsPerMultiprocessor));
    if (info.virtual_memory) {
      cuda::AllocationProperties properties;
      properties.location.id = device;
      const Result result =
          as_result(functions_.get_granularity(&info.granularity, &properties, cuda::kGranularityMinimum));
      if (result != Result::ok) return result;
    }
    out = info;
    return Result::ok;
  }

  Result memory_info(int device, MemoryInfo& out) override {
    return in_context(device, [&] { return functions_.memory_get_info(&out.free_bytes, &out.total_bytes); });
  }

  Result address_reserve(std::size_t bytes, std::size_t alignment, Address& out) override {
    if (const Result result = initialise(); result != Result::ok) return result;
    return as_result(functions_.address_reserve(&out, bytes, alignment, 0, 0));
  }

  Result address_free(Address base, std::size_t bytes) override {
    return as_result(functions_.address_free(base, bytes));
  }

  Result create(int device, std::size_t bytes, const HandleProperties& wanted, Handle& out) override {
    cuda::AllocationProperties properties;
    properties.location.id = device;
    if (wanted.posix_fd) properties.requested_handle_types |= cuda::kHandlePosixFd;
    if (wanted.fabric) properties.requested_handle_types |= cuda::kHandleFabric;
    properties.gpu_direct_rdma_capable = wanted.gpu_direct_rdma ? 1 : 0;
    // The call names its device itself; the scope makes sure that the device's primary context exists.
    return in_context(device, [&] { return functions_.create(&out, bytes, &properties, 0); });
  }

  Result release(Handle handle) override { return as_result(functions_.release(handle)); }
  Result map(Address base, std::size_t bytes, Handle handle) override {
    return as_result(functions_.map(base, bytes, 0, handle, 0));
  }
  Result unmap(Address base, std::size_t bytes) override { return as_result(functions_.unmap(base, bytes)); }

  Result set_access(Address base, std::size_t bytes, std::span<const int> devices) override {
    if (devices.size() > kMostDevices) return Result::invalid_value;
    std::array<cuda::AccessDescription, kMostDevices> descriptions;
    for (std::size_t i = 0; i < devices.size(); ++i) descriptions[i].location.id = devices[i];
    return as_result(functions_.set_access(base, bytes, descriptions.data(), devices.size()));
  }

  Result export_posix_fd(Handle handle, int& out) override {
    return as_result(functions_.export_handle(&out, handle, cuda::kHandlePosixFd, 0));
  }

  Result import_posix_fd(int fd, Handle& out) override {
    if (const Result result = initialise(); result != Result::ok) return result;
    // The descriptor travels as a pointer-sized value, not as a pointer to it.
    return as_result(
        functions_.import_handle(&out, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)), cuda::kHandlePosixFd));
  }

  Result event_create(int device, Event& out) override {
    return in_context(device, [&] { return functions_.event_create(&out, cuda::kEventDisableTiming); });
  }
  Result event_destroy(int device, Event event) override {
    return in_context(device, [&] { return functions_.event_destroy(event); });
  }
  Result event_record(int device, Event event, Stream stream) override {
    return in_context(device, [&] { return functions_.event_record(event, stream); });
  }
  Result event_query(int device, Event event) override {
    return in_context(device, [&] { return functions_.event_query(event); });
  }
  Result event_synchronize(int device, Event event) override {
    return in_context(device, [&] { return functions_.event_synchronize(event); });
  }
  Result stream_wait_event(int device, Stream stream, Event event) override {
    return in_context(device, [&] { return functions_.stream_wait_event(stream, event, 0); });
  }
  Result stream_synchronize(int device, Stream stream) override {
    return in_context(device, [&] { return functions_.stream_synchronize(stream); });
  }
  Result device_synchronize(int device) override {
    return in_context(device, [&] { return functions_.context_synchronize(); });
  }

  Result capture_info(int device, Stream stream, CaptureInfo& out) override {
    int status = 0;
    std::uint64_t id = 0;
    const Result result = in_context(device, [&] {
      return functions_.capture_info_v3 != nullptr
                 ? functions_.capture_info_v3(stream, &status, &id, nullptr, nullptr, nullptr, nullptr)
                 : functions_.capture_info_v2(stream, &status, &id, nullptr, nullptr, nullptr);
    });
    if (result != Result::ok) return result;
    out.status = status == 0 ? CaptureStatus::none : status == 1 ? CaptureStatus::active : CaptureStatus::invalidated;
    out.id = status == 0 ? 0 : id;
    return Result::ok;
  }

  Result exchange_capture_mode(int& mode) override {
    if (const Result result = initialise(); result != Result::ok) return result;
    return as_result(functions_.exchange_capture_mode(&mode));
  }

  const char* result_name(Result result) override {
    const char* name = nullptr;
    if (functions_.get_error_name(static_cast<int>(result), &name) == 0 && name != nullptr) return name;
    return driver::result_name(result);
  }

 private:
  static Result as_result(int code) { return static_cast<Result>(code); }

  Result initialise() {
    std::call_once(initialised_, [this] { initialisation_ = as_result(functions_.init(0)); });
    return initialisation_;
  }

  Result primary_context(int device, Context& out) {
    if (device < 0 || device >= kMostDevices) return Result::invalid_device;
    std::atomic<Context>& slot = contexts_[static_cast<std::size_t>(device)];
    out = slot.load(std::memory_order_acquire);
    if (out != nullptr) return Result::ok;
    if (const Result result = initialise(); result != Result::ok) return result;
    const std::lock_guard lock(mutex_);
    out = slot.load(std::memory_order_relaxed);
    if (out != nullptr) return Result::ok;
    cuda::Device ordinal = 0;
    if (const Result result = as_result(functions_.device_get(&ordinal, device)); result != Result::ok) return result;
    if (const Result result = as_result(functions_.primary_context_retain(&out, ordinal)); result != Result::ok)
      return result;
    slot.store(out, std::memory_order_release);
    return Result::ok;
  }

  template <typename F>
  Result in_context(int device, F&& call) {
    Context context = nullptr;
    if (const Result result = primary_context(device, context); result != Result::ok) return result;
    const ContextScope scope(functions_, context);
    if (scope.result() != Result::ok) return scope.result();
    return as_result(call());
  }

  const cuda::Functions functions_;
  std::once_flag initialised_;
  Result initialisation_ = Result::not_initialized;
  std::mutex mutex_;  // retains only; no lock of gapless is taken inside it
  std::array<std::atomic<Context>, kMostDevices> contexts_{};
};

}  // namespace

std::unique_ptr<DriverOps> open_cuda_driver(std::string& why_not) {
  cuda::Functions functions;
  if (!cuda::load_functions(functions, why_not)) return nullptr;
  return std::make_unique<CudaDriver>(functions);
}

}  // namespace gapless::driver
