// SPDX-License-Identifier: Apache-2.0
// Owners of a file descriptor and of a memory mapping.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <span>
#include <utility>

namespace vttm::machine {

class UniqueFd {
public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_(fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~UniqueFd() { reset(); }
    int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    int release() noexcept { return std::exchange(fd_, -1); }
    void reset(int fd = -1) noexcept {
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
    }

private:
    int fd_ = -1;
};

// A shared, read-write mapping of a whole file. Writes are seen by every other mapper at once.
class Mapping {
public:
    Mapping() = default;
    // Throws std::system_error.
    Mapping(int fd, std::size_t bytes);
    Mapping(Mapping&& other) noexcept : span_(std::exchange(other.span_, {})) {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(span_, other.span_);
        return *this;
    }
    ~Mapping();
    std::span<std::byte> bytes() const noexcept { return span_; }

private:
    std::span<std::byte> span_;
};

}  // namespace vttm::machine
