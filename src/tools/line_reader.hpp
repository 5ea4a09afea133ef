// SPDX-License-Identifier: Apache-2.0
// Lines of a gzipped (or plain) text file, streamed.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gapless::tools {

class LineReader {
 public:
  // Throws TraceError.
  explicit LineReader(const std::string& path);

  // False at the end. `line` has no newline (nor a carriage return before it) and is valid until the next call. Throws
  // TraceError on damaged data.
  bool next(std::string_view& line);

  std::size_t line_number() const { return line_number_; }
  [[noreturn]] void fail(const std::string& reason) const;

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };

  bool fill();

  std::string path_;
  std::unique_ptr<gzFile_s, Close> file_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // unread data is [begin_, end_)
  std::size_t end_ = 0;
  std::size_t line_number_ = 0;
};

}  // namespace gapless::tools
