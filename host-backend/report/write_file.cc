// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include "host-backend/report/run_report.h"

namespace vttm::report {
namespace {

// A temporary file that is gone unless it was renamed into place.
class TempFile {
public:
    explicit TempFile(const std::string& target) : name_(target + ".XXXXXX") {
        fd_ = ::mkostemp(name_.data(), O_CLOEXEC);
        if (fd_ < 0) fail(errno, target);
    }
    ~TempFile() {
        if (fd_ >= 0) ::close(fd_);
        if (!name_.empty()) ::unlink(name_.c_str());
    }
    TempFile(const TempFile&) = delete;
    TempFile& operator=(const TempFile&) = delete;

    void write(const std::string& text) {
        for (std::size_t done = 0; done < text.size();) {
            const ssize_t n = ::write(fd_, text.data() + done, text.size() - done);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) fail(errno, name_);
            done += static_cast<std::size_t>(n);
        }
    }
    void rename_to(const std::string& target) {
        // mkostemp makes it private; a report is for everyone the umask allows.
        const mode_t mask = ::umask(0);
        ::umask(mask);
        if (::fchmod(fd_, 0666 & ~mask) != 0) fail(errno, name_);
        const int fd = fd_;
        fd_ = -1;
        if (::close(fd) != 0) fail(errno, name_);
        if (std::rename(name_.c_str(), target.c_str()) != 0) fail(errno, target);
        name_.clear();
    }

private:
    [[noreturn]] static void fail(int error, const std::string& what) {
        throw std::system_error(error, std::generic_category(), "cannot write " + what);
    }

    std::string name_;
    int fd_ = -1;
};

}  // namespace

void write_file(const std::string& path, const std::string& text) {
    TempFile file(path);
    file.write(text);
    file.rename_to(path);
}

}  // namespace vttm::report
