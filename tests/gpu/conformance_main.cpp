// SPDX-License-Identifier: Apache-2.0
// conformance: runs every scenario on device 0 and writes what each call gave. Exit status: 0 where all scenarios ran
// (what they found is judged by who reads it), 77 where there is no CUDA device.
//
// The parent never touches CUDA. Children run scenarios until one has to be alone or kills them; the parent notes that
// and starts the next child behind it.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gpu/conformance.hpp"

namespace gapless::gpu {
namespace {

constexpr int kNoDevice = 77;
constexpr int kGoOn = 76;  // a child's: alive, but the next scenario wants a process of its own
constexpr unsigned kPatienceSeconds = 30;

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all;
  for (const auto& some : {memory_scenarios(), mapping_scenarios(), sharing_scenarios(), stream_scenarios(),
                           capture_scenarios(), fault_scenarios()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

// The simulation keeps bytes here, and refuses what a device refuses by breaking down: else its answers mean nothing.
void configure(const Cuda& cuda) {
  const auto set = reinterpret_cast<int (*)(const char*)>(cuda.find("gapless_sim_configure"));
  if (set != nullptr) (void)set("data=1,strict=1,sticky=1,report=0");
}

int open_device(Cuda& cuda, std::string& why) {
  if (!cuda.open(why)) return kNoDevice;
  configure(cuda);
  int count = 0;
  if (const CUresult result = cuda.cuInit(0); result != CUDA_SUCCESS) {
    why = "cuInit: " + cuda.name(result);
    return kNoDevice;
  }
  if (cuda.cuDeviceGetCount(&count) != CUDA_SUCCESS || count == 0) {
    why = "no device";
    return kNoDevice;
  }
  CUcontext context = nullptr;
  const CUresult made = cuda.cuDevicePrimaryCtxRetain(&context, 0);
  if (made != CUDA_SUCCESS || cuda.cuCtxSetCurrent(context) != CUDA_SUCCESS) {
    why = "cuDevicePrimaryCtxRetain: " + cuda.name(made);
    return kNoDevice;
  }
  return 0;
}

// A child: scenarios from `first` on. Tells the parent through `progress` which one it is about to run.
int run_from(std::size_t first, int progress) {
  Cuda cuda;
  std::string why;
  if (const int status = open_device(cuda, why); status != 0) {
    std::fprintf(stderr, "conformance: no CUDA device: %s\n", why.c_str());
    return status;
  }
  std::size_t granule = 0;
  const CUmemAllocationProp properties = device_memory();
  (void)cuda.cuMemGetAllocationGranularity(&granule, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
  const std::vector<Scenario> all = all_scenarios();
  for (std::size_t i = first; i < all.size(); ++i) {
    if (all[i].alone && i != first) return kGoOn;
    if (::write(progress, &i, sizeof i) != static_cast<ssize_t>(sizeof i)) return 1;
    ::alarm(kPatienceSeconds);
    Run run(cuda, all[i].name);
    run.granule = granule;
    all[i].run(run);
    ::alarm(0);
    if (all[i].alone) return kGoOn;
  }
  return 0;
}

// What became of the child that ran from `first`; the scenario that it began last.
int run_child(const char* self, std::size_t first, std::size_t& last) {
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    const std::string from = std::to_string(first);
    const std::string progress = std::to_string(ends[1]);
    ::execl(self, self, "--from", from.c_str(), "--progress", progress.c_str(), static_cast<char*>(nullptr));
    std::_Exit(127);
  }
  ::close(ends[1]);
  last = first;
  for (std::size_t at = 0; ::read(ends[0], &at, sizeof at) == static_cast<ssize_t>(sizeof at);) last = at;
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    Run::line(all_scenarios()[last].name, "the process", signal == SIGALRM ? "hangs" : "dies of a signal");
    return kGoOn;
  }
  return WEXITSTATUS(status) == 3 ? kGoOn : WEXITSTATUS(status);
}

int run_all(const char* self) {
  const std::size_t count = all_scenarios().size();
  for (std::size_t next = 0; next < count;) {
    std::size_t last = next;
    const int status = run_child(self, next, last);
    if (status == 0) return 0;
    if (status != kGoOn) return status;
    next = last + 1;
  }
  return 0;
}

}  // namespace
}  // namespace gapless::gpu

int main(int argc, char** argv) {
  if (argc == 5 && std::strcmp(argv[1], "--from") == 0) {
    return gapless::gpu::run_from(std::strtoull(argv[2], nullptr, 10), std::atoi(argv[4]));
  }
  if (argc != 1) {
    std::fprintf(stderr, "usage: conformance\n");
    return 2;
  }
  return gapless::gpu::run_all("/proc/self/exe");
}
