// SPDX-License-Identifier: Apache-2.0
// CudaDriver over a stub of libcuda.so.1 that is already loaded, found by its SONAME. Its own program: a process has
// one libcuda.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "driver/cuda_driver.hpp"

#if defined(GAPLESS_CUDA_H)
#include <cuda.h>

#include "driver/cuda_functions.hpp"
#endif

namespace gapless::driver {
namespace {

class CudaDriverTest : public testing::Test {
 protected:
  void SetUp() override {
    stub_ = ::dlopen(GAPLESS_STUB_LIBCUDA, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(stub_, nullptr) << ::dlerror();
    std::string why;
    driver_ = open_cuda_driver(why);
    ASSERT_NE(driver_, nullptr) << why;
  }
  int ask(const char* function) { return reinterpret_cast<int (*)()>(::dlsym(stub_, function))(); }
  void* current() {
    void* context = nullptr;
    reinterpret_cast<int (*)(void**)>(::dlsym(stub_, "cuCtxGetCurrent"))(&context);
    return context;
  }
  void push(void* context) { reinterpret_cast<int (*)(void*)>(::dlsym(stub_, "cuCtxPushCurrent_v2"))(context); }

  void* stub_ = nullptr;
  std::unique_ptr<DriverOps> driver_;
};

TEST_F(CudaDriverTest, OpeningDoesNotInitialiseCuda) {
  const int before = ask("stub_initialised");
  std::string why;
  const auto another = open_cuda_driver(why);
  EXPECT_EQ(ask("stub_initialised"), before);
  int count = 0;
  EXPECT_EQ(another->device_count(count), Result::ok);
  EXPECT_EQ(another->device_count(count), Result::ok);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(ask("stub_initialised"), before + 1);
}

void every_call(DriverOps& driver) {
  MemoryInfo memory;
  Handle handle = 0;
  Event event = nullptr;
  CaptureInfo capture;
  EXPECT_EQ(driver.memory_info(0, memory), Result::ok);
  EXPECT_EQ(driver.create(0, 4096, {}, handle), Result::ok);
  EXPECT_EQ(driver.event_create(0, event), Result::ok);
  EXPECT_EQ(driver.event_record(0, event, nullptr), Result::ok);
  EXPECT_EQ(driver.event_query(0, event), Result::not_ready);
  EXPECT_EQ(driver.event_synchronize(0, event), Result::ok);
  EXPECT_EQ(driver.stream_wait_event(0, nullptr, event), Result::ok);
  EXPECT_EQ(driver.stream_synchronize(0, nullptr), Result::ok);
  EXPECT_EQ(driver.device_synchronize(0), Result::ok);
  EXPECT_EQ(driver.capture_info(0, nullptr, capture), Result::ok);
  EXPECT_EQ(capture.status, CaptureStatus::active);
  EXPECT_EQ(capture.id, 77u);
  EXPECT_EQ(driver.event_destroy(0, event), Result::ok);
}

TEST_F(CudaDriverTest, EveryCallHasItsContextAndLeavesTheThreads) {
  int foreign = 0;
  std::thread([&] {  // a thread without a context
    every_call(*driver_);
    EXPECT_EQ(current(), nullptr);
    push(&foreign);  // with another's
    every_call(*driver_);
    EXPECT_EQ(current(), &foreign);
    void* primary = reinterpret_cast<void* (*)()>(::dlsym(stub_, "stub_primary"))();
    push(primary);  // with the right one
    every_call(*driver_);
    EXPECT_EQ(current(), primary);
  })
      .join();
  EXPECT_EQ(ask("stub_calls_without_context"), 0);
}

TEST_F(CudaDriverTest, PassesArgumentsAndResultsOn) {
  DeviceInfo info;
  ASSERT_EQ(driver_->device_info(0, info), Result::ok);
  EXPECT_EQ(info.total_bytes, 1u << 30);
  EXPECT_EQ(info.granularity, 2u << 20);
  EXPECT_TRUE(info.virtual_memory);
  EXPECT_TRUE(info.posix_handles);
  EXPECT_FALSE(info.fabric_handles) << "an attribute that the driver does not know";
  EXPECT_EQ(info.resident_threads, 100u * 1536);
  EXPECT_EQ(driver_->device_info(1, info), Result::invalid_device);
  HandleProperties properties;
  properties.posix_fd = properties.gpu_direct_rdma = true;
  Handle handle = 0;
  ASSERT_EQ(driver_->create(0, 4096, properties, handle), Result::ok);
  EXPECT_EQ(handle, 4096u | 1ull << 56 | 1ull << 48);
  const std::array<int, 2> devices = {0, 1};
  EXPECT_EQ(driver_->set_access(0, 4096, devices), Result::ok);
  EXPECT_EQ(driver_->unmap(0, 4096), Result::illegal_address);
  EXPECT_STREQ(driver_->result_name(Result::illegal_address), "CUDA_ERROR_ILLEGAL_ADDRESS");
  EXPECT_STREQ(driver_->result_name(Result::out_of_memory), "CUDA_ERROR_OUT_OF_MEMORY")
      << "the driver does not say: our own";
  int fd = -1;
  ASSERT_EQ(driver_->export_posix_fd(handle, fd), Result::ok);
  ASSERT_EQ(driver_->import_posix_fd(fd, handle), Result::ok);
  EXPECT_EQ(handle, 5u);
  MemoryInfo memory;
  EXPECT_EQ(driver_->memory_info(-1, memory), Result::invalid_device);
}

#if defined(GAPLESS_CUDA_H)
TEST(CudaLayouts, AreThoseOfCudaH) {
  static_assert(sizeof(cuda::AllocationProperties) == sizeof(CUmemAllocationProp));
  static_assert(offsetof(cuda::AllocationProperties, requested_handle_types) ==
                offsetof(CUmemAllocationProp, requestedHandleTypes));
  static_assert(offsetof(cuda::AllocationProperties, location) == offsetof(CUmemAllocationProp, location));
  static_assert(offsetof(cuda::AllocationProperties, gpu_direct_rdma_capable) ==
                offsetof(CUmemAllocationProp, allocFlags) + 1);
  static_assert(sizeof(cuda::AccessDescription) == sizeof(CUmemAccessDesc));
  static_assert(offsetof(cuda::AccessDescription, flags) == offsetof(CUmemAccessDesc, flags));
  EXPECT_EQ(cuda::kAttributeVirtualMemory, static_cast<int>(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED));
  EXPECT_EQ(cuda::kAttributePosixFd, static_cast<int>(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED));
  EXPECT_EQ(cuda::kAttributeGpuDirectRdma,
            static_cast<int>(CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED));
  EXPECT_EQ(cuda::kAttributeFabric, static_cast<int>(CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED));
  EXPECT_EQ(cuda::kHandlePosixFd, static_cast<int>(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
  EXPECT_EQ(cuda::kHandleFabric, static_cast<int>(CU_MEM_HANDLE_TYPE_FABRIC));
  EXPECT_EQ(cuda::AccessDescription{}.flags, static_cast<int>(CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
  EXPECT_EQ(static_cast<int>(Result::stream_capture_implicit), static_cast<int>(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT));
  EXPECT_EQ(static_cast<int>(Result::not_supported), static_cast<int>(CUDA_ERROR_NOT_SUPPORTED));
}
#endif

}  // namespace
}  // namespace gapless::driver
