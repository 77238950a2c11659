// SPDX-License-Identifier: Apache-2.0
// The kernel's files (/proc, /sys, debugfs, cgroup) below a root, so that tests can give their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vttm::guest {

class SystemFiles {
public:
    explicit SystemFiles(std::filesystem::path root = "/") : root_(std::move(root)) {}

    std::filesystem::path path(std::string_view absolute) const;
    bool exists(std::string_view absolute) const;

    // Whole content; throws Error naming the file.
    std::string read(std::string_view absolute) const;
    // Trimmed content, or nothing if there is no such file.
    std::optional<std::string> try_read_line(std::string_view absolute) const;
    // Content in pieces, for files too big to hold. Throws Error.
    void read_chunks(std::string_view absolute,
                     const std::function<void(std::string_view)>& sink) const;
    // One write() of the whole text into an existing file. Throws Error.
    void write(std::string_view absolute, std::string_view text) const;
    // The same, returning 0 or the errno.
    int try_write(std::string_view absolute, std::string_view text) const;

    // Names of the entries of a directory, sorted; empty if it is not there.
    std::vector<std::string> list(std::string_view absolute) const;

private:
    std::filesystem::path root_;
};

// "name value" lines with whole numbers; other lines are left out.
std::map<std::string, std::int64_t> parse_name_value(std::string_view text);
// /proc/meminfo: KiB by name.
std::map<std::string, std::int64_t> parse_meminfo(std::string_view text);
// /proc/swaps: bytes used on all areas.
std::int64_t parse_swaps_used(std::string_view text);
// /proc/buddyinfo: free blocks by order, summed over all zones.
std::vector<std::int64_t> parse_buddyinfo(std::string_view text);

// The directory of the vttm driver in debugfs; empty if there is none.
std::string find_driver_debugfs(const SystemFiles& files);
// The directory of vttm's shrinker in debugfs; empty if there is none.
std::string find_shrinker_debugfs(const SystemFiles& files);

}  // namespace vttm::guest
