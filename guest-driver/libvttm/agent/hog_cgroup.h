// SPDX-License-Identifier: Apache-2.0
// The memory cgroup that the hog lives in.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "guest-driver/libvttm/agent/system_files.h"

namespace vttm::guest {

class HogCgroup {
public:
    explicit HogCgroup(const SystemFiles& files) : files_(files) {}

    // Creates it if need be. Throws Error (ENOENT: no cgroup v2 at /sys/fs/cgroup).
    void prepare() const;
    bool exists() const;
    std::string directory() const;  // as a path for the hog

    // memory.max; 0 means no limit. Throws Error.
    void limit(std::uint64_t mib) const;
    // memory.reclaim of the hog's (or the root) cgroup. False: less could be reclaimed. Throws
    // Error.
    bool reclaim(std::uint64_t mib, bool of_hog) const;
    // Bytes, event counts and what memory.stat says by name; empty if the cgroup is not there.
    std::map<std::string, std::int64_t> counters() const;

private:
    const SystemFiles& files_;
};

}  // namespace vttm::guest
