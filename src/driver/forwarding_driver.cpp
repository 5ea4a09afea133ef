// SPDX-License-Identifier: Apache-2.0
#include "driver/forwarding_driver.hpp"

namespace gapless::driver {

const char* call_name(Call call) {
  static constexpr std::array<const char*, kCalls> kNames = {"cuDeviceGetCount",
                                                             "cuDeviceGetAttribute",
                                                             "cuMemGetInfo",
                                                             "cuMemAddressReserve",
                                                             "cuMemAddressFree",
                                                             "cuMemCreate",
                                                             "cuMemRelease",
                                                             "cuMemMap",
                                                             "cuMemUnmap",
                                                             "cuMemSetAccess",
                                                             "cuMemExportToShareableHandle",
                                                             "cuMemImportFromShareableHandle",
                                                             "cuEventCreate",
                                                             "cuEventDestroy",
                                                             "cuEventRecord",
                                                             "cuEventQuery",
                                                             "cuEventSynchronize",
                                                             "cuStreamWaitEvent",
                                                             "cuStreamSynchronize",
                                                             "cuCtxSynchronize",
                                                             "cuStreamGetCaptureInfo",
                                                             "cuThreadExchangeStreamCaptureMode"};
  return kNames[static_cast<std::size_t>(call)];
}

}  // namespace gapless::driver
