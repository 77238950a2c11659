// SPDX-License-Identifier: Apache-2.0
// vttm-hog: holds anonymous memory, on the command of its standard input.
//
//   grow MIB STEP_MIB   takes MIB more, STEP_MIB at a time; answers "held N" per step, "done N"
//   touch               writes to each page again; answers as above
//
// N is the MiB that were touched so far. End of input ends it; so does the end of its parent.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::uint64_t kMib = 1u << 20;
constexpr std::size_t kPage = 4096;
constexpr int kUsageError = 2;

// One step's worth of memory.
class Block {
public:
    explicit Block(std::size_t bytes)
        : address_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)),
          bytes_(bytes) {
        if (address_ == MAP_FAILED) {
            throw std::bad_alloc();
        }
    }
    Block(Block&& other) noexcept
        : address_(std::exchange(other.address_, MAP_FAILED)), bytes_(other.bytes_) {}
    Block& operator=(Block&&) = delete;
    ~Block() {
        if (address_ != MAP_FAILED) {
            ::munmap(address_, bytes_);
        }
    }

    // Content that neither zswap nor zram can make small, and no two pages alike.
    void fill(std::uint64_t seed) {
        auto* words = static_cast<std::uint64_t*>(address_);
        std::uint64_t x = seed | 1;
        for (std::size_t i = 0; i < bytes_ / sizeof(*words); ++i) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            words[i] = x;
        }
    }
    void touch() {
        auto* bytes = static_cast<volatile std::uint8_t*>(address_);
        for (std::size_t at = 0; at < bytes_; at += kPage) {
            bytes[at] = bytes[at] + 1;
        }
    }
    std::size_t bytes() const { return bytes_; }

private:
    void* address_;
    std::size_t bytes_;
};

class Hog {
public:
    void grow(std::uint64_t mib, std::uint64_t step) {
        while (mib != 0) {
            const std::uint64_t now = std::min(mib, step);
            Block block(now * kMib);
            block.fill((held_ + 1) * 0x9e3779b97f4a7c15ull);
            blocks_.push_back(std::move(block));
            held_ += now;
            mib -= now;
            say("held");
        }
        say("done");
    }
    void touch() {
        for (Block& block : blocks_) {
            block.touch();
            say("held");
        }
        say("done");
    }

private:
    void say(const char* word) const {
        fmt::print("{} {}\n", word, held_);
        std::fflush(stdout);
    }

    std::vector<Block> blocks_;
    std::uint64_t held_ = 0;
};

bool write_file(const std::string& path, const std::string& text) {
    std::ofstream file(path);
    file << text << std::flush;
    return file.good();
}

// Ends with the parent, is the OOM killer's first choice, and lives in `cgroup` if one is given.
bool settle(pid_t parent, const std::string& cgroup) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (parent != 0 && ::getppid() != parent) {
        return false;  // it went before the line above
    }
    if (!write_file("/proc/self/oom_score_adj", "1000")) {
        fmt::print("error cannot set oom_score_adj\n");
        return false;
    }
    if (!cgroup.empty() && !write_file(cgroup + "/cgroup.procs", std::to_string(::getpid()))) {
        fmt::print("error cannot join cgroup {}\n", cgroup);
        return false;
    }
    return true;
}

int serve() {
    Hog hog;
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string command;
        std::uint64_t mib = 0;
        std::uint64_t step = 0;
        words >> command;
        if (command == "grow" && words >> mib >> step && step != 0) {
            hog.grow(mib, step);
        } else if (command == "touch") {
            hog.touch();
        } else {
            fmt::print("error unknown command '{}'\n", line);
            std::fflush(stdout);
            return kUsageError;
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    pid_t parent = 0;
    std::string cgroup;
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        const std::string value = i + 1 < argc ? argv[i + 1] : "";
        if (name == "--cgroup" && !value.empty()) {
            cgroup = value;
        } else if (name == "--parent" && !value.empty() &&
                   std::from_chars(value.data(), value.data() + value.size(), parent).ec ==
                       std::errc{}) {
            continue;
        } else {
            fmt::print(stderr, "usage: vttm-hog [--parent PID] [--cgroup DIRECTORY]\n");
            return kUsageError;
        }
    }
    if (!settle(parent, cgroup)) {
        return 1;
    }
    try {
        return serve();
    } catch (const std::exception& error) {
        fmt::print("error {}\n", error.what());
        std::fflush(stdout);
        return 1;
    }
}
