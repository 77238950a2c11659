// SPDX-License-Identifier: Apache-2.0
// A file system of a few pages, to be full in no time; gone with the process, however that ends.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace vttm::cli::test {

class TinyFilesystem {
public:
    TinyFilesystem() {
        std::string name = (std::filesystem::temp_directory_path() / "vttm-tiny-XXXXXX").string();
        if (!::mkdtemp(name.data())) throw std::system_error(errno, std::generic_category(), name);
        dir_ = name;
        if (!own_mounts()) {
            why_not_ = std::string("no mount namespace to be had: ") + std::strerror(errno);
        } else if (::mount("tmpfs", dir_.c_str(), "tmpfs", 0, "size=16k") != 0) {
            why_not_ = std::string("a tmpfs cannot be mounted: ") + std::strerror(errno);
        } else {
            mounted_ = true;
        }
    }
    ~TinyFilesystem() {
        if (mounted_) ::umount2(dir_.c_str(), MNT_DETACH);
        std::error_code ignored;
        std::filesystem::remove(dir_, ignored);
    }
    TinyFilesystem(const TinyFilesystem&) = delete;
    TinyFilesystem& operator=(const TinyFilesystem&) = delete;

    const std::filesystem::path& dir() const { return dir_; }
    const std::string& why_not() const { return why_not_; }  // "": it is there
    void fill() const { std::ofstream(dir_ / "filler") << std::string(1 << 16, 'x'); }
    std::size_t files() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(dir_), {}));
    }

private:
    // A mount namespace of this process: the system's own does not see our mount. A user who is not root
    // gets one with a user namespace, where the system allows it.
    static bool own_mounts() {
        static const int error = [] {
            if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return errno;
            return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 ? 0 : errno;
        }();
        errno = error;
        return error == 0;
    }

    std::filesystem::path dir_;
    std::string why_not_;
    bool mounted_ = false;
};

}  // namespace vttm::cli::test
