// SPDX-License-Identifier: Apache-2.0
// An array that never moves and grows in place: reserved once as address space, committed as it is needed. Elements
// start as zero bytes. It is what the hit path indexes, so growing must not move it, and reading needs no bound check.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace gapless::base {

namespace detail {
// Inaccessible address space, or null. It counts against no overcommit limit.
void* reserve_pages(std::size_t bytes);
bool commit_pages(void* base, std::size_t from, std::size_t to);
void release_pages(void* base, std::size_t bytes);
}  // namespace detail

template <typename T>
requires std::is_trivially_copyable_v<T>
class FlatArray {
 public:
  FlatArray() = default;
  explicit FlatArray(std::size_t capacity) : capacity_(capacity) {
    data_ = static_cast<T*>(detail::reserve_pages(capacity * sizeof(T)));
    if (data_ == nullptr) capacity_ = 0;
  }
  FlatArray(FlatArray&& other) noexcept { swap(other); }
  FlatArray& operator=(FlatArray&& other) noexcept {
    FlatArray(std::move(other)).swap(*this);
    return *this;
  }
  FlatArray(const FlatArray&) = delete;
  ~FlatArray() { detail::release_pages(data_, capacity_ * sizeof(T)); }

  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  std::size_t committed_bytes() const { return size_ * sizeof(T); }

  // At least `count` elements exist. False: no host memory, or above the capacity; nothing changed.
  bool grow_to(std::size_t count) {
    if (count <= size_) return true;
    if (count > capacity_) return false;
    // Whole steps, so that growing one by one costs a system call only now and then.
    constexpr std::size_t kStep = (std::size_t{64} << 10) / sizeof(T) + 1;
    std::size_t target = (count + kStep - 1) / kStep * kStep;
    if (target > capacity_) target = capacity_;
    if (!detail::commit_pages(data_, size_ * sizeof(T), target * sizeof(T))) return false;
    size_ = target;
    return true;
  }

  void swap(FlatArray& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace gapless::base
