// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/system_files.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "guest-driver/libvttm/error.h"
#include "guest-driver/libvttm/fd.h"

namespace vttm::guest {
namespace {

constexpr std::string_view kBlank = " \t\r\n";
constexpr std::size_t kChunk = 64 * 1024;

std::string_view trim(std::string_view text) {
    const std::size_t first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::vector<std::string_view> words(std::string_view line) {
    std::vector<std::string_view> found;
    for (std::size_t at = 0; (at = line.find_first_not_of(kBlank, at)) != std::string_view::npos;) {
        const std::size_t end = std::min(line.find_first_of(kBlank, at), line.size());
        found.push_back(line.substr(at, end - at));
        at = end;
    }
    return found;
}

std::optional<std::int64_t> number(std::string_view word) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size()) {
        return std::nullopt;
    }
    return value;
}

template <typename Line>
void for_each_line(std::string_view text, Line&& line) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        line(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

}  // namespace

std::filesystem::path SystemFiles::path(std::string_view absolute) const {
    return root_ / absolute.substr(absolute.starts_with('/') ? 1 : 0);
}

bool SystemFiles::exists(std::string_view absolute) const {
    std::error_code none;
    return std::filesystem::exists(path(absolute), none);
}

void SystemFiles::read_chunks(std::string_view absolute,
                              const std::function<void(std::string_view)>& sink) const {
    const std::string name = path(absolute).string();
    const Fd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
        throw_errno("open " + name);
    }
    std::array<char, kChunk> chunk;
    for (;;) {
        const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw_errno("read " + name);
        }
        if (got == 0) {
            return;
        }
        sink({chunk.data(), static_cast<std::size_t>(got)});
    }
}

std::string SystemFiles::read(std::string_view absolute) const {
    std::string text;
    read_chunks(absolute, [&text](std::string_view chunk) { text.append(chunk); });
    return text;
}

std::optional<std::string> SystemFiles::try_read_line(std::string_view absolute) const {
    try {
        return std::string(trim(read(absolute)));
    } catch (const Error&) {
        return std::nullopt;
    }
}

int SystemFiles::try_write(std::string_view absolute, std::string_view text) const {
    const Fd fd(::open(path(absolute).c_str(), O_WRONLY | O_CLOEXEC | O_TRUNC));
    if (!fd.valid()) {
        return errno;
    }
    for (;;) {
        const ssize_t written = ::write(fd.get(), text.data(), text.size());
        if (written >= 0) {
            return static_cast<std::size_t>(written) == text.size() ? 0 : EIO;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
}

void SystemFiles::write(std::string_view absolute, std::string_view text) const {
    if (const int error = try_write(absolute, text); error != 0) {
        throw Error(error, "write '" + std::string(text) + "' to " + path(absolute).string());
    }
}

std::vector<std::string> SystemFiles::list(std::string_view absolute) const {
    std::vector<std::string> names;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(path(absolute), none)) {
        names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

std::map<std::string, std::int64_t> parse_name_value(std::string_view text) {
    std::map<std::string, std::int64_t> values;
    for_each_line(text, [&values](std::string_view line) {
        const auto parts = words(line);
        if (parts.size() != 2) {
            return;
        }
        std::string_view name = parts[0];
        if (name.ends_with(':')) {
            name.remove_suffix(1);
        }
        if (const auto value = number(parts[1])) {
            values[std::string(name)] = *value;
        }
    });
    return values;
}

std::map<std::string, std::int64_t> parse_meminfo(std::string_view text) {
    std::map<std::string, std::int64_t> values;
    for_each_line(text, [&values](std::string_view line) {
        const auto parts = words(line);
        if (parts.size() < 2 || !parts[0].ends_with(':')) {
            return;
        }
        if (const auto value = number(parts[1])) {
            values[std::string(parts[0].substr(0, parts[0].size() - 1))] = *value;
        }
    });
    return values;
}

std::int64_t parse_swaps_used(std::string_view text) {
    std::int64_t used_kib = 0;
    for_each_line(text, [&used_kib](std::string_view line) {
        // Filename Type Size Used Priority; the heading has no number in the fourth column.
        const auto parts = words(line);
        if (parts.size() >= 5) {
            used_kib += number(parts[parts.size() - 2]).value_or(0);
        }
    });
    return used_kib * 1024;
}

std::vector<std::int64_t> parse_buddyinfo(std::string_view text) {
    std::vector<std::int64_t> orders;
    for_each_line(text, [&orders](std::string_view line) {
        // Node 0, zone DMA32 <order 0> <order 1> ...
        const auto parts = words(line);
        for (std::size_t i = 4; i < parts.size(); ++i) {
            const std::size_t order = i - 4;
            if (orders.size() <= order) {
                orders.resize(order + 1, 0);
            }
            orders[order] += number(parts[i]).value_or(0);
        }
    });
    return orders;
}

std::string find_driver_debugfs(const SystemFiles& files) {
    const std::string dri = "/sys/kernel/debug/dri";
    for (const std::string& name : files.list(dri)) {
        const std::string directory = dri + "/" + name;
        if (files.exists(directory + "/vttm_stats")) {
            return directory;
        }
    }
    return {};
}

std::string find_shrinker_debugfs(const SystemFiles& files) {
    const std::string shrinkers = "/sys/kernel/debug/shrinker";
    for (const std::string& name : files.list(shrinkers)) {
        if (name.find("vttm") != std::string::npos) {
            return shrinkers + "/" + name;
        }
    }
    return {};
}

}  // namespace vttm::guest
