// SPDX-License-Identifier: Apache-2.0
// The agent's side of the memory hog (hog/main.cc).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "guest-driver/libvttm/agent/child.h"

namespace vttm::guest {

struct HogState {
    std::uint64_t held_mib = 0;  // touched and not given back
    bool killed = false;         // by the OOM killer, since the last call
};

class HogChild {
public:
    using Progress = std::function<void(std::uint64_t held_mib)>;

    // `program`: the hog's executable. `cgroup`: directory it joins, or empty.
    explicit HogChild(std::string program) : program_(std::move(program)) {}

    // Grows by `mib` in steps of `step_mib` (starting the hog if there is none).
    HogState grow(std::uint64_t mib, std::uint64_t step_mib, const std::string& cgroup,
                  const Progress& progress);
    // Has it write to each of its pages again.
    HogState touch(const Progress& progress);
    // Ends it; returns what it held, in MiB.
    std::uint64_t release();

    bool running() const { return child_ != nullptr; }
    std::uint64_t held_mib() const { return held_mib_; }

private:
    HogState command(const std::string& line, const Progress& progress);
    bool read_line(std::string* line);

    std::string program_;
    std::unique_ptr<Child> child_;
    std::string pending_;
    std::uint64_t held_mib_ = 0;
};

}  // namespace vttm::guest
