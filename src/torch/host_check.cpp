// SPDX-License-Identifier: Apache-2.0
#include "host_check.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>

#include "compat.hpp"

namespace gapless::torch {

namespace {

struct Method {
  size_t slot;
  const char* mangled;  // of CUDAPluggableAllocator, from its class name on
};

// The slot of a virtual function: in the Itanium C++ ABI a pointer to one holds 1 + its offset in the table.
template <typename Function>
size_t slot_of(Function function) {
  uintptr_t offset = 0;
  static_assert(sizeof function >= sizeof offset);
  std::memcpy(&offset, &function, sizeof offset);
  return (offset - 1) / sizeof(void*);
}

// Methods whose place or signature has moved between releases, with the name under which PyTorch's own pluggable
// allocator exports its override. Where the loaded table has another function in one of these slots, the layouts
// differ.
std::string compare_slots(void** functions, size_t count) {
  using Allocator = cca::CUDAAllocator;
  const Method methods[] = {
    {slot_of(&Allocator::init), "4initEi"},
    {slot_of(&Allocator::raw_alloc_with_stream), "21raw_alloc_with_streamEmP11CUstream_st"},
    {slot_of(&Allocator::raw_delete), "10raw_deleteEPv"},
    {slot_of(&Allocator::setMemoryFraction), "17setMemoryFractionEda"},
    {slot_of(&Allocator::cacheInfo), "9cacheInfoEaPm"},
#if GAPLESS_TORCH_MINOR >= 11
    {slot_of(&Allocator::snapshot), "8snapshotESt4pairIyyEb"},
#else
    {slot_of(&Allocator::snapshot), "8snapshotESt4pairIyyE"},
#endif
    {slot_of(&Allocator::beginAllocateToPool), "19beginAllocateToPoolEaSt4pairIyyESt8functionIFbP11CUstream_stEE"},
    {slot_of(&Allocator::releasePool), "11releasePoolEaSt4pairIyyE"},
    {slot_of(&Allocator::shareIpcHandle), "14shareIpcHandleEPv"},
    {slot_of(&Allocator::enablePeerAccess), "16enablePeerAccessEaa"},
    {slot_of(&Allocator::memcpyAsync), "11memcpyAsyncEPviPKvimP11CUstream_stb"},
    {slot_of(&Allocator::name), "4nameB5cxx11Ev"},
  };
  const std::string prefix = "_ZN5torch4cuda22CUDAPluggableAllocator22CUDAPluggableAllocator";
  for (const Method& method : methods) {
    Dl_info found{};
    if (method.slot >= count) return std::string("its allocator interface lacks ") + method.mangled;
    if (dladdr(functions[method.slot], &found) == 0 || found.dli_sname == nullptr) continue;
    if (found.dli_saddr != functions[method.slot]) continue;  // a local function: no name to compare
    if (prefix + method.mangled != found.dli_sname) {
      return std::string("its allocator interface differs: ") + found.dli_sname + " where " + method.mangled +
             " was expected";
    }
  }
  return "";
}

std::string check_version() {
  void* const library = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
  using AbiVersion = uint64_t (*)();
  const auto version =
      library == nullptr ? nullptr : reinterpret_cast<AbiVersion>(dlsym(library, "aoti_torch_abi_version"));
  if (version == nullptr) return "PyTorch is not loaded, or does not say which version it is";
  const uint64_t packed = version();
  const auto major = static_cast<unsigned>(packed >> 56 & 0xff);
  const auto minor = static_cast<unsigned>(packed >> 48 & 0xff);
  if (major == TORCH_VERSION_MAJOR && minor == TORCH_VERSION_MINOR) return "";
  return "this is PyTorch " + std::to_string(major) + "." + std::to_string(minor) + ", the library was built for " +
         std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR);
}

std::string check_interface() {
  void* const library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  if (library == nullptr) return "this PyTorch has no CUDA";
  void* const table = dlsym(library, "_ZTVN5torch4cuda22CUDAPluggableAllocator22CUDAPluggableAllocatorE");
  Dl_info info{};
  const ElfW(Sym)* symbol = nullptr;
  if (table == nullptr ||
      dladdr1(table, &info, const_cast<void**>(reinterpret_cast<const void**>(&symbol)), RTLD_DL_SYMENT) == 0 ||
      symbol == nullptr) {
    return "";  // nothing to compare with; the version has been checked
  }
  constexpr size_t kAbiWords = 2;  // offset to top, type information
  const size_t words = symbol->st_size / sizeof(void*);
  const size_t slots = words > kAbiWords ? words - kAbiWords : 0;
  constexpr size_t kSlots[] = {45, 50, 50, 52, 55, 57, 57};  // 2.9 to 2.15
  const size_t expected = kSlots[GAPLESS_TORCH_MINOR - 9];
  if (slots != expected) {
    return "its allocator interface has " + std::to_string(slots) + " functions, " + std::to_string(expected) +
           " were expected";
  }
  return compare_slots(static_cast<void**>(table) + kAbiWords, slots);
}

}  // namespace

std::string check_host() {
  std::string why = check_version();
  return why.empty() ? check_interface() : why;
}

}  // namespace gapless::torch
