// SPDX-License-Identifier: Apache-2.0
// Two pieces of work timed in turns, so that whatever else the machine does meets both. What counts
// is the ratio within each pair.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <vector>

namespace vttm::bench {

// Seconds: of CPU time, all threads of the process together, and on the wall.
struct Spent {
    double cpu = 0;
    double wall = 0;
};

template <typename Work>
Spent time_of(Work&& work, clockid_t cpu_clock = CLOCK_PROCESS_CPUTIME_ID) {
    const auto now = [](clockid_t clock) {
        timespec t{};
        clock_gettime(clock, &t);
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
    };
    const double wall = now(CLOCK_MONOTONIC), cpu = now(cpu_clock);
    work();
    return {now(cpu_clock) - cpu, now(CLOCK_MONOTONIC) - wall};
}

inline double median(std::vector<double> v) {
    if (v.empty()) return 0;
    std::sort(v.begin(), v.end());
    const size_t half = v.size() / 2;
    return v.size() % 2 ? v[half] : (v[half - 1] + v[half]) / 2;
}

// How often the work is done where it counts as done once: 1, or $VTTM_BENCH_TIMES, by which a test
// has a benchmark miss what is demanded.
inline int handicap() {
    const char* times = std::getenv("VTTM_BENCH_TIMES");
    return times ? std::atoi(times) : 1;
}

class Pairs {
public:
    // One after the other; which is first changes from pair to pair. Returns what @once took.
    template <typename Work, typename Bound>
    Spent run(Work&& once, Bound&& bound, clockid_t cpu_clock = CLOCK_PROCESS_CPUTIME_ID) {
        const auto work = [&] {
            for (int i = handicap(); i > 0; i--) once();
        };
        Spent w, b;
        if (work_.size() % 2) {
            b = time_of(bound, cpu_clock);
            w = time_of(work, cpu_clock);
        } else {
            w = time_of(work, cpu_clock);
            b = time_of(bound, cpu_clock);
        }
        add(w, b);
        return w;
    }
    void add(const Spent& work, const Spent& bound) {
        work_.push_back(work);
        bound_.push_back(bound);
    }

    // How often as fast as the bound, by CPU time: 2 is twice as fast.
    double ratio() const { return median(ratios()); }
    double least() const { return work_.empty() ? 0 : std::ranges::min(ratios()); }
    double most() const { return work_.empty() ? 0 : std::ranges::max(ratios()); }
    // By the clock on the wall, of the best time of each: a machine with other work stretches the
    // others, and a pair of which it stretched one half says nothing. Who sleeps is found here.
    double wall() const {
        return work_.empty() ? 0 : best(bound_).wall / best(work_).wall;
    }
    double work_seconds() const { return median(cpu(work_)); }
    double bound_seconds() const { return median(cpu(bound_)); }

private:
    static Spent best(const std::vector<Spent>& v) {
        return *std::ranges::min_element(v, {}, &Spent::wall);
    }
    static std::vector<double> cpu(const std::vector<Spent>& v) {
        std::vector<double> out;
        for (const Spent& s : v) out.push_back(s.cpu);
        return out;
    }
    std::vector<double> ratios() const {
        std::vector<double> out;
        for (size_t i = 0; i < work_.size(); i++) out.push_back(bound_[i].cpu / work_[i].cpu);
        return out;
    }

    std::vector<Spent> work_;
    std::vector<Spent> bound_;
};

}  // namespace vttm::bench
