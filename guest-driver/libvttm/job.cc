// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/job.h"

#include <fmt/format.h>

#include "guest-driver/libvttm/error.h"
#include "protocol/vttm_regs.h"

namespace vttm::guest {

const char* fault_reason_name(std::uint32_t reason) {
    switch (reason) {
        case VTTM_FAULT_NONE:
            return "none";
        case VTTM_FAULT_NOT_VALID:
            return "not valid";
        case VTTM_FAULT_READ_ONLY:
            return "read only";
        case VTTM_FAULT_RESERVED_BITS:
            return "reserved bits";
        case VTTM_FAULT_VA_RANGE:
            return "address range";
        case VTTM_FAULT_VRAM_RANGE:
            return "VRAM range";
        case VTTM_FAULT_BUS:
            return "bus error";
        case VTTM_FAULT_NO_VM:
            return "no VM";
        case VTTM_FAULT_BAD_PACKET:
            return "bad packet";
        case VTTM_FAULT_BAD_FRAMING:
            return "bad framing";
        case VTTM_FAULT_NO_ACCESS:
            return "no access";
        case VTTM_FAULT_LEAF_LEVEL:
            return "large leaf at wrong level";
        case VTTM_FAULT_LEAF_ALIGN:
            return "large leaf misaligned";
        case VTTM_FAULT_LEAF_MIXED:
            return "large leaf mixed";
        case VTTM_FAULT_PRIVILEGE:
            return "privileged packet";
        case VTTM_FAULT_POISON:
            return "poisoned VRAM";
        default:
            return "unknown";
    }
}

JobResult Job::result(std::int64_t timeout_ns) const {
    drm_vttm_wait request = {};
    request.seqno = seqno_;
    request.engine = engine_;
    request.timeout_ns = timeout_ns;
    const int error = device_->try_call(DRM_IOCTL_VTTM_WAIT, &request);
    return {error, request.status};
}

void Job::wait(std::int64_t timeout_ns) const {
    const JobResult done = result(timeout_ns);
    if (done.error == ETIME) {
        throw JobError(ETIME, 0,
                       fmt::format("job {} of engine {} not done after {} ms", seqno_, engine_,
                                   timeout_ns / 1'000'000));
    }
    if (done.error != 0) {
        throw JobError(done.error, done.reason,
                       fmt::format("job {} of engine {} failed, fault {} ({})", seqno_, engine_,
                                   done.reason, fault_reason_name(done.reason)));
    }
}

int try_submit(const Device& device, const Submission& submission, std::uint64_t* seqno) {
    drm_vttm_submit request = {};
    request.packets = reinterpret_cast<std::uintptr_t>(submission.packets.data());
    request.num_dwords = static_cast<std::uint32_t>(submission.packets.size());
    request.engine = submission.engine;
    request.bos = reinterpret_cast<std::uintptr_t>(submission.buffers.data());
    request.num_bos = static_cast<std::uint32_t>(submission.buffers.size());
    request.syncobj_in = submission.syncobj_in;
    request.syncobj_out = submission.syncobj_out;
    const int error = device.try_call(DRM_IOCTL_VTTM_SUBMIT, &request);
    if (error == 0) {
        *seqno = request.seqno;
    }
    return error;
}

Job submit(const Device& device, const Submission& submission) {
    std::uint64_t seqno = 0;
    if (const int error = try_submit(device, submission, &seqno); error != 0) {
        throw Error(error, fmt::format("SUBMIT of {} dwords with {} buffers to engine {}",
                                       submission.packets.size(), submission.buffers.size(),
                                       submission.engine));
    }
    return {device, submission.engine, seqno};
}

}  // namespace vttm::guest
