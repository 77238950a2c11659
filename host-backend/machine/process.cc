// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/process.h"

#include <signal.h>
#include <sys/stat.h>

#include <charconv>
#include <fstream>
#include <iterator>
#include <thread>

namespace vttm::machine {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::seconds kAfterLimit{5};  // for SIGKILL to do its work

std::vector<pid_t> processes() {
    std::vector<pid_t> found;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator("/proc", error)) {
        const std::string name = entry.path().filename();
        pid_t pid = 0;
        const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
        if (bad == std::errc() && end == name.data() + name.size()) found.push_back(pid);
    }
    return found;
}

// "" if it is gone, or is none of our business.
std::string proc_file(pid_t pid, const char* name) {
    std::ifstream file(fs::path("/proc") / std::to_string(pid) / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

std::vector<pid_t> find_processes(const fs::path& executable, std::string_view marker) {
    std::vector<pid_t> found;
    if (marker.empty()) return found;
    std::error_code error;
    const fs::path wanted = fs::weakly_canonical(executable, error);
    for (const pid_t pid : processes()) {
        std::error_code gone;  // processes come and go while we look
        const fs::path exe = fs::read_symlink(fs::path("/proc") / std::to_string(pid) / "exe", gone);
        if (gone || (exe != wanted && exe != wanted.string() + " (deleted)")) continue;
        if (proc_file(pid, "cmdline").find(marker) != std::string::npos) found.push_back(pid);
    }
    return found;
}

std::vector<pid_t> find_by_environment(std::string_view entry) {
    std::vector<pid_t> found;
    if (entry.find('=') == entry.npos) return found;
    const std::string wanted = '\0' + std::string(entry) + '\0';
    for (const pid_t pid : processes())
        if (('\0' + proc_file(pid, "environ")).find(wanted) != std::string::npos && process_alive(pid))
            found.push_back(pid);
    return found;
}

bool end_by_environment(std::string_view entry, std::chrono::milliseconds limit) {
    using Clock = std::chrono::steady_clock;
    const auto hard = Clock::now() + limit;
    for (;;) {
        const auto pids = find_by_environment(entry);
        if (pids.empty()) return true;
        const bool late = Clock::now() >= hard;
        for (const pid_t pid : pids)
            if (late || proc_file(pid, "comm") != std::string(kReaperName) + "\n") ::kill(pid, SIGKILL);
        if (Clock::now() >= hard + kAfterLimit) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

bool kill_processes(const fs::path& executable, std::string_view marker,
                    std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        const auto pids = find_processes(executable, marker);
        if (pids.empty()) return true;
        for (const pid_t pid : pids) ::kill(pid, SIGKILL);
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

bool process_alive(pid_t pid) {
    const std::string stat = proc_file(pid, "stat");
    const std::size_t name_end = stat.rfind(')');  // the name may hold anything
    if (name_end == std::string::npos || name_end + 2 >= stat.size()) return false;
    const char state = stat[name_end + 2];
    return state != 'Z' && state != 'X';
}

fs::path find_memfd(pid_t pid, std::uint64_t bytes) {
    const fs::path fds = fs::path("/proc") / std::to_string(pid) / "fd";
    for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(fds))) {
        std::error_code gone;
        const std::string target = fs::read_symlink(entry.path(), gone).string();
        if (gone || !target.starts_with("/memfd:")) continue;
        struct stat st {};
        if (::stat(entry.path().c_str(), &st) == 0 &&
            static_cast<std::uint64_t>(st.st_size) == bytes)
            return entry.path();
    }
    return {};
}

}  // namespace vttm::machine
