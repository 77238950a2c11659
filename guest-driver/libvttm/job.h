// SPDX-License-Identifier: Apache-2.0
// Submitting packets and waiting for them.
#pragma once

#include <cstdint>
#include <span>

#include "guest-driver/libvttm/device.h"

namespace vttm::guest {

// Limits of one submit (uapi).
inline constexpr std::size_t kMaxSubmitDwords = 16384;
inline constexpr std::size_t kMaxSubmitBuffers = 4096;

struct Submission {
    std::uint32_t engine = 0;  // VTTM_ENGINE_*
    std::span<const std::uint32_t> packets;
    std::span<const std::uint32_t> buffers;  // handles of all buffers that the packets touch
    std::uint32_t syncobj_in = 0;            // 0: none
    std::uint32_t syncobj_out = 0;
};

struct JobResult {
    int error = 0;             // 0, or the errno of WAIT: ETIME, EIO, ECANCELED, ...
    std::uint32_t reason = 0;  // enum vttm_fault_reason
};

// A submitted job: just a number, so it may be copied and dropped.
class Job {
public:
    Job(const Device& device, std::uint32_t engine, std::uint64_t seqno)
        : device_(&device), engine_(engine), seqno_(seqno) {}

    std::uint64_t seqno() const { return seqno_; }
    std::uint32_t engine() const { return engine_; }

    // Waits at most `timeout_ns` (negative: for ever); never throws.
    JobResult result(std::int64_t timeout_ns) const;
    // Waits until done; throws JobError if the job failed or is not done in time.
    void wait(std::int64_t timeout_ns = kDefaultTimeoutNs) const;

    // Long for any job even on an emulated machine, short enough to tell a dead device.
    static constexpr std::int64_t kDefaultTimeoutNs = 120'000'000'000;

private:
    const Device* device_;
    std::uint32_t engine_;
    std::uint64_t seqno_;
};

// Throws Error: EACCES (privileged packet), EINVAL, ENOENT, ENOMEM / ENOSPC (do not fit).
Job submit(const Device& device, const Submission& submission);
// The same, but returns the errno and sets `seqno` on success.
int try_submit(const Device& device, const Submission& submission, std::uint64_t* seqno);

// The name of an enum vttm_fault_reason, for messages.
const char* fault_reason_name(std::uint32_t reason);

}  // namespace vttm::guest
