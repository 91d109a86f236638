// Work that is shared among threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace vecdb {

// Call work(thread, begin, end) for pieces of 0 .. count of up to `piece` items, each once, on up to
// `threads` threads, the caller's among them; `thread` tells them apart, from 0. What one call
// throws is thrown here, after the others have ended.
template <typename Work>
void share_out(unsigned threads, std::uint64_t count, std::uint64_t piece, const Work& work) {
  std::atomic<std::uint64_t> next = 0;
  std::mutex failed;
  std::exception_ptr failure;  // guarded by failed until the threads have ended
  const auto run = [&](unsigned thread) {
    try {
      for (std::uint64_t begin; (begin = next.fetch_add(piece)) < count;) {
        work(thread, begin, std::min(begin + piece, count));
      }
    } catch (...) {
      next = count;
      const std::scoped_lock lock(failed);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    others.reserve(threads);
    try {
      for (unsigned i = 1; i < threads && i * piece < count; ++i) others.emplace_back(run, i);
    } catch (const std::system_error&) {
      // The system grants no more threads; those there are finish the work.
    }
    run(0);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace vecdb
