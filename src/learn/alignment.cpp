// SPDX-License-Identifier: Apache-2.0
#include "learn/alignment.hpp"

#include <limits>

namespace gapless::learn {

namespace {

// Differences looked through at once. Beyond it the path that came furthest is taken as far as it goes: an alignment
// that is not the best, in bounded time.
constexpr int kMostDifferences = 1000;
// What grows with the batch may grow by this much more than the batch does: a kernel's buffer has a part for each so
// many rows, rounded up, 19 parts for 1212 rows and 26 for 1616.
constexpr double kRounding = 1.0 + 1.0 / 16.0;
// Where no path can be.
constexpr int kNowhere = -(1 << 28);

class Aligner {
 public:
  Aligner(const RecordedStep& small, const RecordedStep& large, double ratio)
      : a_(small.lives), b_(large.lives), ratio_(ratio), cut_(large.cut), match_(large.lives.size(), kNoLife) {}

  std::vector<std::uint32_t> run() {
    while (from_a_ < size(a_) && from_b_ < size(b_)) advance();
    return std::move(match_);
  }

 private:
  static int size(const std::vector<Life>& lives) { return static_cast<int>(lives.size()); }

  bool alike(int i, int j) const {
    const Life& x = a_[static_cast<std::size_t>(i)];
    const Life& y = b_[static_cast<std::size_t>(j)];
    if (is_older(x) != is_older(y) || x.stream() != y.stream()) return false;
    if (!cut_ && survives(x) != survives(y)) return false;
    // One unit more for what rounding may add to either.
    return y.units >= x.units &&
           static_cast<double>(y.units) <= static_cast<double>(x.units + 1) * ratio_ * kRounding + 1.0;
  }

  // Myers' greedy algorithm from (from_a_, from_b_): furthest_[d][k] is how far a path with d differences has come in
  // `a` on the diagonal k = i - j.
  void advance() {
    const int n = size(a_) - from_a_;
    const int m = size(b_) - from_b_;
    furthest_.clear();
    std::vector<int> reach(static_cast<std::size_t>(2 * kMostDifferences + 3), kNowhere);
    const auto at = [&](int k) -> int& { return reach[static_cast<std::size_t>(k + kMostDifferences + 1)]; };
    at(1) = 0;
    for (int d = 0; d <= kMostDifferences; d++) {
      int best = -1, best_k = 0;
      bool ended = false;
      for (int k = -d; k <= d; k += 2) {
        int i = k == -d || (k != d && at(k - 1) < at(k + 1)) ? at(k + 1) : at(k - 1) + 1;
        if (i < 0 || i > n || i - k > m) {
          at(k) = kNowhere;
          continue;
        }
        while (i < n && i - k < m && alike(from_a_ + i, from_b_ + i - k)) i++;
        at(k) = i;
        if (2 * i - k > best) best = 2 * i - k, best_k = k;
        // Of an attempt that failed there is no more: where the other step ends does not matter.
        ended = ended || (cut_ && i - k == m);
        if (ended) {
          best_k = k;
          break;
        }
      }
      furthest_.emplace_back(reach.begin() + kMostDifferences + 1 - d, reach.begin() + kMostDifferences + 2 + d);
      if (ended || best == n + m || d == kMostDifferences) return trace(d, best_k);
    }
  }

  // Walks the path back and notes its matches.
  void trace(int d, int k) {
    const auto at = [&](int depth, int diagonal) {
      return diagonal < -depth || diagonal > depth
                 ? kNowhere
                 : furthest_[static_cast<std::size_t>(depth)][static_cast<std::size_t>(diagonal + depth)];
    };
    int i = at(d, k);
    const int end_a = from_a_ + i;
    const int end_b = from_b_ + i - k;
    for (; d >= 0; d--) {
      int previous = 0, start = 0;
      if (d > 0) {
        const bool down = k == -d || (k != d && at(d - 1, k - 1) < at(d - 1, k + 1));
        previous = down ? k + 1 : k - 1;
        start = down ? at(d - 1, previous) : at(d - 1, previous) + 1;
      }
      for (; i > start; i--)
        match_[static_cast<std::size_t>(from_b_ + i - 1 - k)] = static_cast<std::uint32_t>(from_a_ + i - 1);
      if (d > 0) {
        i = at(d - 1, previous);
        k = previous;
      }
    }
    // A window without any progress cannot be: a path with a difference has moved.
    from_a_ = end_a;
    from_b_ = end_b;
  }

  const std::vector<Life>& a_;
  const std::vector<Life>& b_;
  const double ratio_;
  const bool cut_;
  std::vector<std::uint32_t> match_;
  std::vector<std::vector<int>> furthest_;
  int from_a_ = 0, from_b_ = 0;
};

}  // namespace

std::vector<std::uint32_t> align(const RecordedStep& small, const RecordedStep& large) {
  return Aligner(small, large, static_cast<double>(large.units) / static_cast<double>(small.units)).run();
}

std::vector<std::uint32_t> align_shapes(const RecordedStep& small, const RecordedStep& large) {
  return Aligner(small, large, std::numeric_limits<double>::infinity()).run();
}

}  // namespace gapless::learn
