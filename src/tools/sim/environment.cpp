// SPDX-License-Identifier: Apache-2.0
#include "tools/sim/environment.hpp"

#include <sys/personality.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace gapless::tools {
namespace {

namespace fs = std::filesystem;

// libcuda first: the others find the device there. cublasLt before cublas, which needs it in real life.
constexpr const char* kLibraries[] = {"libcuda.so.1", "libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13",
                                      "libcudnn.so.9"};
constexpr std::size_t kNeeded = 2;  // the maths libraries are left out of some builds

fs::path executable_directory() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

fs::path first_with(const std::vector<fs::path>& directories, const char* file) {
  for (const fs::path& directory : directories) {
    std::error_code error;
    if (fs::exists(directory / file, error)) return fs::weakly_canonical(directory, error);
  }
  return {};
}

void set_default(const char* name, const std::string& value) {
  setenv(name, value.c_str(), 0);
}

}  // namespace

bool find_sim_libraries(const SimOptions& options, SimLibraries& out, std::string& why) {
  const fs::path here = executable_directory();
  std::vector<fs::path> places;
  const char* named = std::getenv("GAPLESS_SIM_LIBRARY_DIR");
  if (named != nullptr && *named != '\0') {
    places = {named};
  } else {
    places = {here / "../lib/simcuda", here / "../lib/gapless/simcuda"};
  }
  const fs::path directory = first_with(places, kLibraries[0]);
  if (directory.empty()) {
    why = "the simulated " + std::string(kLibraries[0]) + " is not in " + places.front().string() +
          " (build the target 'all' with a CUDA toolkit, or set GAPLESS_SIM_LIBRARY_DIR)";
    return false;
  }
  out.directory = directory.string();
  for (std::size_t index = 0; index < std::size(kLibraries); ++index) {
    std::error_code error;
    const fs::path library = directory / kLibraries[index];
    if (fs::exists(library, error)) {
      out.preload.push_back(library.string());
    } else if (index < kNeeded) {
      why = library.string() + " is missing";
      return false;
    }
  }
  if (options.gapless) {
    const fs::path library = first_with({directory / "..", directory / "../.."}, "libgapless_preload.so");
    if (library.empty()) {
      why = "--gapless: libgapless_preload.so is not beside " + out.directory;
      return false;
    }
    out.preload.push_back((library / "libgapless_preload.so").string());
  }
  for (const std::string& path : out.preload) {
    // The loader splits LD_PRELOAD at both and has no way to escape them.
    if (path.find_first_of(" :") != std::string::npos) {
      why = path + ": a path with a space or a colon cannot be preloaded";
      return false;
    }
  }
  return true;
}

void set_sim_environment(const SimOptions& options, const SimLibraries& libraries) {
  // What is preloaded already stays first: a sanitizer's library insists on it.
  std::string preload;
  const char* before = std::getenv("LD_PRELOAD");
  if (before != nullptr) preload = before;
  for (const std::string& library : libraries.preload) preload += (preload.empty() ? "" : ":") + library;
  setenv("LD_PRELOAD", preload.c_str(), 1);

  setenv(driver::sim::kConfigVariable, driver::sim::format_config(options.machine).c_str(), 1);
  if (!options.log.empty()) setenv("GAPLESS_SIM_LOG", options.log.c_str(), 1);
  setenv(driver::sim::kCommandVariable, options.command_line.c_str(), 1);
  // The command replaces this process and keeps its id.
  setenv("GAPLESS_SIM_MAIN_PID", std::to_string(getpid()).c_str(), 1);
  if (!options.capability.empty()) setenv("GAPLESS_SIM_CAPABILITY", options.capability.c_str(), 1);

  set_default("TORCH_CUDNN_V8_API_DISABLED", "1");          // cuDNN's graph API has no stand-in
  set_default("TRITON_LIBCUDA_PATH", libraries.directory);  // Triton looks for the driver with ldconfig otherwise
  set_default("TORCH_CUDA_EXPANDABLE_SEGMENTS_IPC", "0");   // torch 2.15 would ask NVML, which has no stand-in
  set_default("PYTHONHASHSEED", "0");                       // the order of sets decides the order of frees
}

bool disable_address_randomisation() {
  const int current = personality(0xffffffff);
  return current != -1 && personality(static_cast<unsigned long>(current) | ADDR_NO_RANDOMIZE) != -1;
}

}  // namespace gapless::tools
