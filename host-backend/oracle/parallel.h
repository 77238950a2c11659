// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace vttm::oracle {

inline unsigned thread_count(unsigned asked) {
    if (asked) return asked;
    return std::max(1u, std::thread::hardware_concurrency());
}

// Calls work(item, worker) for each item in 0..items-1, worker in 0..threads-1; each worker's calls
// come one after the other, in ascending order of items. Rethrows the first exception after all
// threads have ended; the items left over are then not done.
template <typename Work>
void parallel_for(std::size_t items, unsigned threads, const Work& work) {
    std::atomic<std::size_t> next{0};
    std::exception_ptr error;
    std::mutex error_lock;
    const auto run = [&](unsigned worker) {
        try {
            for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
                work(i, worker);
            }
        } catch (...) {
            next.store(items, std::memory_order_relaxed);
            const std::lock_guard hold(error_lock);
            if (!error) error = std::current_exception();
        }
    };
    const auto wanted =
        static_cast<unsigned>(std::min<std::size_t>(threads, std::max<std::size_t>(items, 1)));
    {
        std::vector<std::jthread> pool;
        pool.reserve(wanted);
        for (unsigned t = 1; t < wanted; t++) pool.emplace_back(run, t);
        run(0);
    }
    if (error) std::rethrow_exception(error);
}

}  // namespace vttm::oracle
