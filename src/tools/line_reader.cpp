// SPDX-License-Identifier: Apache-2.0
#include "tools/line_reader.hpp"

#include <cerrno>
#include <cstring>

#include "tools/trace.hpp"

namespace gapless::tools {
namespace {
constexpr std::size_t kBufferBytes = std::size_t{1} << 18;
}

LineReader::LineReader(const std::string& path) : path_(path), buffer_(kBufferBytes) {
  errno = 0;
  file_.reset(gzopen(path.c_str(), "rb"));
  if (!file_) {
    throw TraceError(path + ": " + (errno != 0 ? std::strerror(errno) : "out of memory"));
  }
}

void LineReader::fail(const std::string& reason) const {
  throw TraceError(path_ + ":" + std::to_string(line_number_) + ": " + reason);
}

// Appends to the unread data; false when the file has ended.
bool LineReader::fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (end_ == buffer_.size()) {
    fail("line longer than " + std::to_string(buffer_.size()) + " bytes");
  }
  const int got = gzread(file_.get(), buffer_.data() + end_, static_cast<unsigned>(buffer_.size() - end_));
  int code = Z_OK;
  const char* text = gzerror(file_.get(), &code);
  // A file cut short gives the data that was there and Z_BUF_ERROR, not a negative count.
  if (got < 0 || code == Z_BUF_ERROR) {
    ++line_number_;
    fail(code == Z_ERRNO ? std::strerror(errno) : std::string("damaged gzip data: ") + text);
  }
  end_ += static_cast<std::size_t>(got);
  return got > 0;
}

bool LineReader::next(std::string_view& line) {
  std::size_t searched = 0;
  for (;;) {
    const char* start = buffer_.data() + begin_;
    const void* newline = std::memchr(start + searched, '\n', end_ - begin_ - searched);
    if (newline != nullptr) {
      const auto length = static_cast<std::size_t>(static_cast<const char*>(newline) - start);
      line = {start, length};
      if (line.ends_with('\r')) line.remove_suffix(1);
      begin_ += length + 1;
      ++line_number_;
      return true;
    }
    searched = end_ - begin_;
    if (!fill()) {
      if (begin_ == end_) return false;
      line = {buffer_.data() + begin_, end_ - begin_};
      if (line.ends_with('\r')) line.remove_suffix(1);
      begin_ = end_;
      ++line_number_;
      return true;
    }
  }
}

}  // namespace gapless::tools
