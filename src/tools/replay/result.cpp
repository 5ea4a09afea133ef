// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/result.hpp"

#include <cstring>
#include <stdexcept>
#include <type_traits>

namespace gapless::tools {
namespace {

class Writer {
 public:
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void operator()(const T& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void operator()(const std::string& text) {
    (*this)(text.size());
    bytes += text;
  }
  void operator()(const std::map<std::string, std::uint64_t>& counts) {
    (*this)(counts.size());
    for (const auto& [name, count] : counts) {
      (*this)(name);
      (*this)(count);
    }
  }
  void operator()(const std::vector<StepResult>& steps) {
    (*this)(steps.size());
    for (const auto& step : steps) (*this)(step);
  }

  std::string bytes;
};

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}

  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void operator()(T& value) { std::memcpy(&value, take(sizeof value), sizeof value); }
  void operator()(std::string& text) {
    const auto length = count();
    text.assign(take(length), length);
  }
  void operator()(std::map<std::string, std::uint64_t>& counts) {
    for (auto n = count(); n > 0; --n) {
      std::string name;
      (*this)(name);
      (*this)(counts[name]);
    }
  }
  void operator()(std::vector<StepResult>& steps) {
    for (auto n = count(); n > 0; --n) (*this)(steps.emplace_back());
  }

 private:
  std::size_t count() {
    std::size_t n = 0;
    (*this)(n);
    return n;
  }
  const char* take(std::size_t n) {
    if (bytes_.size() - at_ < n) throw std::runtime_error("the replaying process ended early");
    at_ += n;
    return bytes_.data() + at_ - n;
  }

  const std::string& bytes_;
  std::size_t at_ = 0;
};

// One list of fields for both directions.
template <typename Archive, typename Result>
void visit(Archive& archive, Result& r) {
  archive(r.name), archive(r.allocator), archive(r.size), archive(r.peak_live), archive(r.peak_reserved);
  archive(r.completed), archive(r.ooms), archive(r.retries), archive(r.violations), archive(r.driver_calls);
  archive(r.event_calls), archive(r.driver_calls_steady), archive(r.steps), archive(r.first_us);
  archive(r.remap_steady_us), archive(r.create_steady_us), archive(r.stalls), archive(r.ns_per_pair);
  archive(r.with_creator), archive(r.creator_first_us);
  archive(r.min_fit), archive(r.error), archive(r.picture);
}

}  // namespace

std::string serialize(const ReplayResult& result) {
  Writer writer;
  visit(writer, result);
  return writer.bytes;
}

ReplayResult deserialize(const std::string& bytes) {
  Reader reader(bytes);
  ReplayResult result;
  visit(reader, result);
  return result;
}

}  // namespace gapless::tools
