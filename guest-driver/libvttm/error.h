// SPDX-License-Identifier: Apache-2.0
// How the guest library reports a failed system call or a failed job.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

namespace vttm::guest {

// A call that failed: what() says what was tried on what, error() is its errno.
class Error : public std::system_error {
public:
    Error(int error, const std::string& what)
        : std::system_error(error, std::generic_category(), what) {}

    int error() const { return code().value(); }
};

// A job that the device or the driver gave up: error() is EIO, ECANCELED, ...
class JobError : public Error {
public:
    JobError(int error, std::uint32_t reason, const std::string& what)
        : Error(error, what), reason_(reason) {}

    std::uint32_t reason() const { return reason_; }  // enum vttm_fault_reason

private:
    std::uint32_t reason_;
};

// Throws Error with the current errno.
[[noreturn]] void throw_errno(const std::string& what);

}  // namespace vttm::guest
