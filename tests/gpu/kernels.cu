// SPDX-License-Identifier: Apache-2.0
// The kernels of the hardware questions. Built to a fat binary that the programs carry and the driver loads: no runtime, no
// compiler on the machine where they run.
extern "C" {

// words[i] = value, for i < count.
__global__ void gapless_gpu_fill(unsigned* words, unsigned long long count, unsigned value) {
  const unsigned long long step = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  for (unsigned long long i = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    words[i] = value;
}

// Adds to *wrong how many of words[0, count) are not `value`.
__global__ void gapless_gpu_check(const unsigned* words, unsigned long long count, unsigned value, unsigned long long* wrong) {
  const unsigned long long step = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  unsigned long long mine = 0;
  for (unsigned long long i = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    mine += words[i] != value;
  if (mine != 0) atomicAdd(wrong, mine);
}

// Keeps one multiprocessor busy for `nanoseconds`.
__global__ void gapless_gpu_spin(unsigned long long nanoseconds) {
  unsigned long long start = 0;
  unsigned long long now = 0;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
  do {
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - start < nanoseconds);
}

// Reads one word of every `stride` of words[0, count): each thread block a stride of its own, as a gather does.
__global__ void gapless_gpu_gather(const unsigned* words, unsigned long long count, unsigned long long stride, unsigned* sink) {
  const unsigned long long threads = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  unsigned sum = 0;
  for (unsigned long long i = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count / stride; i += threads)
    sum += words[(i * 2654435761ull % (count / stride)) * stride];
  if (sum == 0x9e3779b9u) *sink = sum;  // never: the reads must not be optimised away
}

// to[i] = from[i], 16 bytes at a time.
__global__ void gapless_gpu_copy(uint4* to, const uint4* from, unsigned long long count) {
  const unsigned long long step = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  for (unsigned long long i = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
    to[i] = from[i];
}
}
