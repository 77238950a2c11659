// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/hog_cgroup.h"

#include <fmt/format.h>

#include <array>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {
namespace {

const std::string kRoot = "/sys/fs/cgroup";
const std::string kHog = kRoot + "/vttm-hog";

}  // namespace

bool HogCgroup::exists() const { return files_.exists(kHog); }

std::string HogCgroup::directory() const { return files_.path(kHog).string(); }

void HogCgroup::prepare() const {
    if (exists()) {
        return;
    }
    if (!files_.exists(kRoot + "/cgroup.subtree_control")) {
        throw Error(ENOENT, "no cgroup v2 is mounted at " + kRoot);
    }
    files_.write(kRoot + "/cgroup.subtree_control", "+memory");
    std::error_code error;
    std::filesystem::create_directory(files_.path(kHog), error);
    if (error) {
        throw Error(error.value(), "create " + kHog);
    }
}

void HogCgroup::limit(std::uint64_t mib) const {
    files_.write(kHog + "/memory.max", mib == 0 ? "max" : fmt::format("{}M", mib));
}

bool HogCgroup::reclaim(std::uint64_t mib, bool of_hog) const {
    const std::string file = (of_hog ? kHog : kRoot) + "/memory.reclaim";
    const int error = files_.try_write(file, fmt::format("{}M", mib));
    if (error != 0 && error != EAGAIN) {
        throw Error(error, "write to " + file);
    }
    return error == 0;
}

std::map<std::string, std::int64_t> HogCgroup::counters() const {
    std::map<std::string, std::int64_t> values;
    for (const char* name : {"memory.current", "memory.swap.current", "memory.max"}) {
        // "max" is no number: a limit that is not set is left out.
        if (const auto text = files_.try_read_line(kHog + "/" + name)) {
            values.merge(parse_name_value(fmt::format("{} {}\n", name, *text)));
        }
    }
    if (files_.exists(kHog + "/memory.events")) {
        for (const auto& [name, value] : parse_name_value(files_.read(kHog + "/memory.events"))) {
            values["events." + name] = value;
        }
    }
    // Whom the pages belong to: the hog has nothing but anonymous memory.
    if (files_.exists(kHog + "/memory.stat")) {
        const auto stat = parse_name_value(files_.read(kHog + "/memory.stat"));
        for (const char* name : {"anon", "file", "shmem", "swapcached", "kernel"}) {
            if (const auto it = stat.find(name); it != stat.end()) {
                values[std::string("stat.") + name] = it->second;
            }
        }
    }
    return values;
}

}  // namespace vttm::guest
