// SPDX-License-Identifier: Apache-2.0
// An ordinary CUDA program, compiled by nvcc against the shared runtime and knowing nothing of the simulation (but for
// the last test, which asks whether it runs on it). Exit status: the number of failed checks, at most 99.
#include <cuda.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "simcuda/gapless_sim.h"

namespace {

int failures = 0;

void check(bool passed, const char* text, int line, int got = 0) {
  if (passed) return;
  ++failures;
  std::fprintf(stderr, "%s:%d: %s (got %d)\n", __FILE__, line, text, got);
}

#define CHECK(condition) check(condition, #condition, __LINE__)
#define EXPECT(call, wanted)                                                       \
  do {                                                                             \
    const int got_ = static_cast<int>(call);                                       \
    check(got_ == static_cast<int>(wanted), #call " is " #wanted, __LINE__, got_); \
  } while (false)
#define OK(call) EXPECT(call, 0)

__device__ int device_variable[4];
__constant__ float constant_variable;

__global__ void add(const float* a, const float* b, float* c, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) c[i] = a[i] + b[i];
}

template <typename T>
__global__ void fill(T* out, T value) {
  out[threadIdx.x] = value;
}

void devices() {
  int count = 0;
  OK(cudaGetDeviceCount(&count));
  CHECK(count >= 1);
  EXPECT(cudaSetDevice(count), cudaErrorInvalidDevice);
  EXPECT(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT(cudaGetLastError(), cudaSuccess);
  OK(cudaSetDevice(0));
  cudaDeviceProp properties{};
  OK(cudaGetDeviceProperties(&properties, 0));
  CHECK(properties.totalGlobalMem > 0 && properties.warpSize == 32 && properties.major >= 5);
  int attribute = 0;
  OK(cudaDeviceGetAttribute(&attribute, cudaDevAttrMultiProcessorCount, 0));
  CHECK(attribute == properties.multiProcessorCount);
  int driver = 0;
  int runtime = 0;
  OK(cudaDriverGetVersion(&driver));
  OK(cudaRuntimeGetVersion(&runtime));
  CHECK(driver >= runtime);
  CHECK(std::strcmp(cudaGetErrorName(cudaErrorMemoryAllocation), "cudaErrorMemoryAllocation") == 0);
  CHECK(std::strcmp(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory") == 0);
  const char* name = nullptr;
  OK(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &name));
  CHECK(name != nullptr && std::strcmp(name, "CUDA_ERROR_OUT_OF_MEMORY") == 0);
}

void memory() {
  std::size_t free_before = 0;
  std::size_t total = 0;
  OK(cudaMemGetInfo(&free_before, &total));
  void* pointer = nullptr;
  OK(cudaMalloc(&pointer, 64 << 20));
  CHECK(pointer != nullptr && reinterpret_cast<std::size_t>(pointer) % 256 == 0);
  std::size_t free_now = 0;
  OK(cudaMemGetInfo(&free_now, &total));
  CHECK(free_before - free_now >= 64u << 20);
  cudaPointerAttributes attributes{};
  OK(cudaPointerGetAttributes(&attributes, static_cast<char*>(pointer) + 100));
  CHECK(attributes.type == cudaMemoryTypeDevice && attributes.device == 0);
  int on_stack = 0;
  OK(cudaPointerGetAttributes(&attributes, &on_stack));
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  CUdeviceptr base = 0;
  std::size_t bytes = 0;
  OK(cuMemGetAddressRange(&base, &bytes, reinterpret_cast<CUdeviceptr>(pointer) + 4096));
  CHECK(base == reinterpret_cast<CUdeviceptr>(pointer) && bytes >= 64u << 20);
  OK(cudaFree(pointer));
  OK(cudaFree(nullptr));
  OK(cudaMemGetInfo(&free_now, &total));
  CHECK(free_now == free_before);
  void* none = &on_stack;
  OK(cudaMalloc(&none, 0));
  CHECK(none == nullptr);
  EXPECT(cudaMalloc(&none, total + 1), cudaErrorMemoryAllocation);
  EXPECT(cudaGetLastError(), cudaErrorMemoryAllocation);
  OK(cudaMallocHost(&pointer, 1 << 20));
  OK(cudaPointerGetAttributes(&attributes, pointer));
  CHECK(attributes.type == cudaMemoryTypeHost && attributes.devicePointer == pointer);
  std::memset(pointer, 1, 1 << 20);
  OK(cudaFreeHost(pointer));
  std::vector<char> registered(1 << 16);
  OK(cudaHostRegister(registered.data(), registered.size(), cudaHostRegisterDefault));
  OK(cudaHostUnregister(registered.data()));
}

void copies() {
  constexpr std::size_t n = 1 << 16;
  std::vector<int> host(n, 7);
  int* device = nullptr;
  OK(cudaMalloc(&device, n * sizeof(int)));
  OK(cudaMemcpy(device, host.data(), n * sizeof(int), cudaMemcpyHostToDevice));
  OK(cudaMemset(device, 0, n * sizeof(int)));
  OK(cudaMemcpy(host.data(), device, n * sizeof(int), cudaMemcpyDeviceToHost));
  CHECK(std::all_of(host.begin(), host.end(), [](int value) { return value == 0; }));
  OK(cudaMemcpy2D(host.data(), 64, device, 128, 64, 10, cudaMemcpyDeviceToHost));
  const int values[4] = {1, 2, 3, 4};
  OK(cudaMemcpyToSymbol(device_variable, values, sizeof values));
  EXPECT(cudaMemcpyToSymbol(device_variable, values, sizeof values, 4), cudaErrorInvalidValue);
  cudaGetLastError();
  void* address = nullptr;
  OK(cudaGetSymbolAddress(&address, constant_variable));
  CHECK(address != nullptr);
  OK(cudaFree(device));
}

void virtual_memory() {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  std::size_t granularity = 0;
  OK(cuMemGetAllocationGranularity(&granularity, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  CHECK(granularity >= 4096);
  CUdeviceptr base = 0;
  OK(cuMemAddressReserve(&base, 8 * granularity, 0, 0, 0));
  CUmemGenericAllocationHandle handle = 0;
  EXPECT(cuMemCreate(&handle, granularity / 2, &properties, 0), CUDA_ERROR_INVALID_VALUE);
  OK(cuMemCreate(&handle, 2 * granularity, &properties, 0));
  OK(cuMemMap(base + granularity, 2 * granularity, 0, handle, 0));
  EXPECT(cuMemMap(base + granularity, 2 * granularity, 0, handle, 0), CUDA_ERROR_INVALID_VALUE);
  CUmemAccessDesc access{};
  access.location = properties.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  OK(cuMemSetAccess(base + granularity, 2 * granularity, &access, 1));
  unsigned long long flags = 0;
  OK(cuMemGetAccess(&flags, &properties.location, base + granularity));
  CHECK(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  OK(cudaMemset(reinterpret_cast<void*>(base + granularity), 1, 2 * granularity));
  CUmemGenericAllocationHandle again = 0;
  OK(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(base + granularity)));
  OK(cuMemRelease(again));
  OK(cuCtxSynchronize());
  OK(cuMemUnmap(base + granularity, 2 * granularity));
  OK(cuMemRelease(handle));
  OK(cuMemAddressFree(base, 8 * granularity));
}

void pools() {
  void* pointer = nullptr;
  cudaStream_t stream = nullptr;
  OK(cudaStreamCreate(&stream));
  OK(cudaMallocAsync(&pointer, 1 << 20, stream));
  OK(cudaMemsetAsync(pointer, 0, 1 << 20, stream));
  OK(cudaFreeAsync(pointer, stream));
  OK(cudaStreamSynchronize(stream));
  cudaMemPool_t pool = nullptr;
  OK(cudaDeviceGetDefaultMemPool(&pool, 0));
  std::size_t used = 1;
  OK(cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used));
  CHECK(used == 0);
  OK(cudaMemPoolTrimTo(pool, 0));
  OK(cudaStreamDestroy(stream));
}

void CUDART_CB count_up(void* counter) {
  ++*static_cast<int*>(counter);
}

void streams_and_events() {
  cudaStream_t one = nullptr;
  cudaStream_t two = nullptr;
  int least = 0;
  int greatest = 0;
  OK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  OK(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithPriority(&two, cudaStreamNonBlocking, greatest));
  int priority = 1;
  OK(cudaStreamGetPriority(two, &priority));
  CHECK(priority == greatest);
  cudaEvent_t start = nullptr;
  cudaEvent_t end = nullptr;
  OK(cudaEventCreate(&start));
  OK(cudaEventCreateWithFlags(&end, cudaEventDefault));
  OK(cudaEventQuery(start));  // never recorded: complete
  float* data = nullptr;
  OK(cudaMalloc(&data, 1 << 20));
  OK(cudaEventRecord(start, one));
  OK(cudaMemsetAsync(data, 0, 1 << 20, one));
  int calls = 0;
  OK(cudaLaunchHostFunc(one, count_up, &calls));
  OK(cudaEventRecord(end, one));
  OK(cudaStreamWaitEvent(two, end, 0));
  OK(cudaMemsetAsync(data, 0, 1 << 20, two));
  const cudaError_t query = cudaStreamQuery(two);
  CHECK(query == cudaSuccess || query == cudaErrorNotReady);
  cudaGetLastError();
  OK(cudaStreamSynchronize(two));
  OK(cudaEventSynchronize(end));
  OK(cudaEventQuery(end));
  CHECK(calls == 1);
  float milliseconds = -1;
  OK(cudaEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds >= 0);
  OK(cudaEventDestroy(start));
  OK(cudaEventDestroy(end));
  OK(cudaStreamDestroy(one));
  OK(cudaStreamDestroy(two));
  OK(cudaFree(data));
}

void launches() {
  constexpr int n = 1 << 10;
  float* data = nullptr;
  OK(cudaMalloc(&data, 3 * n * sizeof(float)));
  add<<<n / 256, 256>>>(data, data + n, data + 2 * n, n);
  OK(cudaGetLastError());
  fill<double><<<1, 32>>>(reinterpret_cast<double*>(data), 1.0);
  OK(cudaGetLastError());
  add<<<0, 256>>>(data, data, data, n);
  EXPECT(cudaGetLastError(), cudaErrorInvalidConfiguration);
  add<<<1, 2048>>>(data, data, data, n);
  EXPECT(cudaGetLastError(), cudaErrorInvalidConfiguration);
  cudaFuncAttributes attributes{};
  OK(cudaFuncGetAttributes(&attributes, add));
  CHECK(attributes.maxThreadsPerBlock >= 256);
  int blocks = 0;
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, add, 256, 0));
  CHECK(blocks >= 1);
  OK(cudaFuncSetAttribute(add, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10));
  add<<<1, 256, 64 << 10>>>(data, data, data, n);
  OK(cudaGetLastError());
  OK(cudaDeviceSynchronize());
  OK(cudaFree(data));
}

void graphs() {
  float* data = nullptr;
  cudaStream_t stream = nullptr;
  cudaStream_t side = nullptr;
  cudaEvent_t fork = nullptr;
  cudaEvent_t join = nullptr;
  OK(cudaMalloc(&data, 1 << 20));
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  OK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
  OK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
  OK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  OK(cudaStreamIsCapturing(stream, &status));
  CHECK(status == cudaStreamCaptureStatusActive);
  OK(cudaMemsetAsync(data, 0, 1 << 20, stream));
  OK(cudaEventRecord(fork, stream));
  OK(cudaStreamWaitEvent(side, fork, 0));
  add<<<4, 256, 0, side>>>(data, data, data, 1024);
  OK(cudaEventRecord(join, side));
  OK(cudaStreamWaitEvent(stream, join, 0));
  const cudaGraphNode_t* next = nullptr;
  const cudaGraphEdgeData* edge = nullptr;
  std::size_t depends_on = 0;
  OK(cudaStreamGetCaptureInfo(stream, &status, nullptr, nullptr, &next, &edge, &depends_on));
  CHECK(depends_on == 2 && edge[1].type == 0);
  cudaGraph_t graph = nullptr;
  OK(cudaStreamEndCapture(stream, &graph));
  std::size_t nodes = 0;
  OK(cudaGraphGetNodes(graph, nullptr, &nodes));
  CHECK(nodes == 2);
  cudaGraphNode_t node[2];
  OK(cudaGraphGetNodes(graph, node, &nodes));
  cudaGraphNodeType kind = cudaGraphNodeTypeEmpty;
  OK(cudaGraphNodeGetType(node[1], &kind));
  CHECK(kind == cudaGraphNodeTypeKernel);
  cudaGraphNode_t earlier = nullptr;
  std::size_t edges = 1;
  OK(cudaGraphNodeGetDependencies(node[1], &earlier, nullptr, &edges));
  CHECK(edges == 1 && earlier == node[0]);
  OK(cudaGraphNodeGetDependentNodes(node[0], &earlier, nullptr, &edges));
  CHECK(edges == 1 && earlier == node[1]);
  OK(cudaGraphGetRootNodes(graph, &earlier, &edges));
  CHECK(edges == 1 && earlier == node[0]);
  OK(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
  CHECK(edges == 1);
  cudaGraphExec_t exec = nullptr;
  OK(cudaGraphInstantiate(&exec, graph, 0));
  for (int turn = 0; turn < 3; ++turn) OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(graph));
  OK(cudaEventDestroy(fork));
  OK(cudaEventDestroy(join));
  OK(cudaStreamDestroy(stream));
  OK(cudaStreamDestroy(side));
  OK(cudaFree(data));
}

void entry_points() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult status{};
  OK(cudaGetDriverEntryPointByVersion("cuMemCreate", &function, 12000, cudaEnableDefault, &status));
  CHECK(function != nullptr && status == cudaDriverEntryPointSuccess);
  OK(cudaGetDriverEntryPointByVersion("cuNoSuchFunction", &function, 12000, cudaEnableDefault, &status));
  CHECK(function == nullptr && status == cudaDriverEntryPointSymbolNotFound);
  OK(cudaGetDriverEntryPointByVersion("cuMulticastCreate", &function, 12000, cudaEnableDefault, &status));
  CHECK(function == nullptr && status == cudaDriverEntryPointVersionNotSufficent);
  OK(cudaGetDriverEntryPointByVersion("cuMemAlloc", &function, 12000, cudaEnableDefault, &status));
  CHECK(function == reinterpret_cast<void*>(&cuMemAlloc));
  OK(cudaGetDriverEntryPointByVersion("cuMemcpyHtoD", &function, 12000, cudaEnableDefault, &status));
  CHECK(function == reinterpret_cast<void*>(&cuMemcpyHtoD));  // the program's own default stream decides the variant
  OK(cudaGetDriverEntryPointByVersion("cuStreamSynchronize", &function, 12000, cudaEnablePerThreadDefaultStream,
                                      &status));
  void* legacy = nullptr;
  OK(cudaGetDriverEntryPointByVersion("cuStreamSynchronize", &legacy, 12000, cudaEnableLegacyStream, &status));
  CHECK(function != nullptr && function != legacy);
}

void threads() {
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 4; ++worker) {
    workers.emplace_back([] {
      for (int turn = 0; turn < 50; ++turn) {
        void* pointer = nullptr;
        if (cudaMalloc(&pointer, 4 << 20) != cudaSuccess) std::abort();
        if (cudaMemsetAsync(pointer, 0, 4 << 20, cudaStreamPerThread) != cudaSuccess) std::abort();
        if (cudaStreamSynchronize(cudaStreamPerThread) != cudaSuccess) std::abort();
        if (cudaFree(pointer) != cudaSuccess) std::abort();
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
}

// A real driver's state does not survive fork either.
void forked_child() {
  const pid_t child = fork();
  if (child == 0) {
    void* pointer = nullptr;
    _exit(cudaMalloc(&pointer, 1 << 20) == cudaErrorInitializationError ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void body_of_add(const gapless_sim_launch* launch) {
  auto* seen = static_cast<int*>(launch->user);
  seen[0] += 1;
  seen[1] = *static_cast<const int*>(launch->parameters[3]);
  seen[2] = static_cast<int>(launch->grid[0] * launch->block[0]);
}

// A body registered under the mangled name runs in the stream's order with the arguments of the launch.
void kernel_bodies() {
  auto* registrar =
      reinterpret_cast<decltype(&gapless_sim_register_kernel)>(dlsym(RTLD_DEFAULT, "gapless_sim_register_kernel"));
  CHECK(registrar != nullptr);
  if (registrar == nullptr) return;
  CUfunction function = nullptr;
  const char* name = nullptr;
  OK(cudaGetFuncBySymbol(&function, reinterpret_cast<const void*>(add)));
  OK(cuFuncGetName(&name, function));
  const std::size_t sizes[] = {sizeof(float*), sizeof(float*), sizeof(float*), sizeof(int)};
  int seen[3] = {};
  OK(registrar(name, body_of_add, seen, sizes, 4));
  float* data = nullptr;
  OK(cudaMalloc(&data, 4096));
  add<<<4, 64>>>(data, data, data, 200);
  OK(cudaDeviceSynchronize());
  CHECK(seen[0] == 1 && seen[1] == 200 && seen[2] == 256);
  OK(registrar(name, nullptr, nullptr, nullptr, 0));
  OK(cudaFree(data));
}

// Constructed before main: its destructor runs after the main thread's thread_local objects have gone, as those of a
// program's global tensors do. CUDA still serves it.
struct Global {
  void* memory = nullptr;
  ~Global() {
    std::size_t free_bytes = 0;
    std::size_t total = 0;
    int device = -1;
    OK(cudaGetDevice(&device));
    CHECK(device == 0);
    OK(cudaMemGetInfo(&free_bytes, &total));
    add<<<1, 1>>>(static_cast<float*>(memory), static_cast<float*>(memory), static_cast<float*>(memory), 1);
    OK(cudaGetLastError());
    OK(cudaDeviceSynchronize());
    OK(cudaFree(memory));
    if (failures != 0) _exit(std::min(failures, 99));
  }
};
Global global;

void sizes_that_overflow() {
  void* memory = nullptr;
  std::size_t pitch = 0;
  EXPECT(cudaMallocPitch(&memory, &pitch, SIZE_MAX, 2), cudaErrorMemoryAllocation);
  EXPECT(cudaMallocPitch(&memory, &pitch, 1u << 20, SIZE_MAX / (1u << 20) + 2), cudaErrorMemoryAllocation);
  EXPECT(cudaGetLastError(), cudaErrorMemoryAllocation);
}

}  // namespace

int main() {
  devices();
  memory();
  copies();
  virtual_memory();
  pools();
  streams_and_events();
  launches();
  graphs();
  entry_points();
  threads();
  forked_child();
  kernel_bodies();
  sizes_that_overflow();
  OK(cudaMalloc(&global.memory, 4096));
  OK(cudaDeviceSynchronize());
  std::printf("%d failed checks\n", failures);
  return std::min(failures, 99);
}
