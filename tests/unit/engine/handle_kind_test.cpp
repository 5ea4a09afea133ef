// SPDX-License-Identifier: Apache-2.0
// What physical handles are made for: POSIX descriptors, fabric handles where they are asked for, GPUDirect RDMA.
#include "engine/handle_kind.hpp"
#include "driver/fault_driver.hpp"
#include "fixture.hpp"

namespace gapless::engine {
namespace {

class HandleKind : public EngineTest {
 protected:
  // The properties of the memory under a fresh block; `said`: what the notes say of it.
  driver::HandleProperties of_a_block(bool asked) {
    config::Options options;
    options.fabric_handles = asked;
    open(80 * kGiB, options, machine);
    void* const first = allocate(3 * kMiB);
    void* const second = allocate(90 * kMiB);
    char notes[512] = {};
    EXPECT_EQ(gapless_get_option(allocator, "notes", notes, sizeof notes), GAPLESS_OK);
    said = notes;
    driver::HandleProperties properties;
    driver::Handle handle = 0;
    int device = -1;
    std::size_t bytes = 0;
    EXPECT_EQ(machine_->retain(reinterpret_cast<driver::Address>(second) + 60 * kMiB, handle), driver::Result::ok);
    EXPECT_EQ(machine_->handle_info(handle, device, bytes, properties), driver::Result::ok);
    EXPECT_EQ(machine_->release(handle), driver::Result::ok);
    free(first);
    free(second);
    return properties;
  }
  driver::sim::Config machine;
  std::string said;
};

TEST_F(HandleKind, NoFabricUnlessItIsAskedFor) {
  machine.fabric = machine.gpu_direct_rdma = true;
  const driver::HandleProperties properties = of_a_block(false);
  EXPECT_TRUE(properties.posix_fd);
  EXPECT_TRUE(properties.gpu_direct_rdma) << "where the device says so";
  EXPECT_FALSE(properties.fabric);
  EXPECT_EQ(said, "");
}

TEST_F(HandleKind, FabricBesidesDescriptors) {
  machine.fabric = true;
  const driver::HandleProperties properties = of_a_block(true);
  EXPECT_TRUE(properties.posix_fd);
  EXPECT_TRUE(properties.fabric);
  EXPECT_FALSE(properties.gpu_direct_rdma);
  EXPECT_EQ(said, "");
  EXPECT_LE(machine_->physical_bytes_peak(0), 94 * kMiB) << "the handle that was tried is given back";
}

TEST_F(HandleKind, ADeviceWithoutFabric) {
  const driver::HandleProperties properties = of_a_block(true);
  EXPECT_TRUE(properties.posix_fd);
  EXPECT_FALSE(properties.fabric);
  EXPECT_EQ(said,
            "fabric_handles: device 0 makes none (it does not support them); its memory is shareable by POSIX "
            "descriptors only");
}

TEST_F(HandleKind, ADeviceThatIsFullNow) {
  driver::sim::Machine full(machine);
  const auto sim = driver::sim::make_sim_driver(full);
  driver::FaultDriver faults(*sim);
  driver::FaultDriver::Rule rule;
  rule.call = driver::Call::create;
  rule.error = driver::Result::out_of_memory;
  faults.add(rule);
  config::Options options;
  options.fabric_handles = true;
  driver::DeviceInfo info;
  ASSERT_EQ(faults.device_info(0, info), driver::Result::ok);
  info.fabric_handles = true;
  EXPECT_EQ(settle_fabric(faults, 0, options, info), "");
  EXPECT_TRUE(info.fabric_handles) << "it may have room for them later";
}

TEST_F(HandleKind, AProcessWithoutAChannel) {
  machine.fabric = true;
  machine.fabric_permitted = false;
  const driver::HandleProperties properties = of_a_block(true);
  EXPECT_TRUE(properties.posix_fd);
  EXPECT_FALSE(properties.fabric);
  EXPECT_NE(said.find("CUDA_ERROR_NOT_PERMITTED"), std::string::npos) << said;
}

}  // namespace
}  // namespace gapless::engine
