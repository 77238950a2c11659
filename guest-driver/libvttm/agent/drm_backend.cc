// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/drm_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "guest-driver/libvttm/agent/guarded_copy.h"
#include "guest-driver/libvttm/error.h"
#include "guest-driver/libvttm/job.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"

namespace vttm::guest {
namespace {

class MappedView : public CpuView {
public:
    explicit MappedView(Mapping mapping) : mapping_(std::move(mapping)) {}
    std::span<std::byte> bytes() override { return mapping_.bytes(); }

private:
    Mapping mapping_;
};

std::uint32_t caching_of(Caching caching) {
    switch (caching) {
        case Caching::kWc:
            return VTTM_CACHING_WC;
        case Caching::kUc:
            return VTTM_CACHING_UC;
        case Caching::kWb:
            break;
    }
    return VTTM_CACHING_WB;
}

}  // namespace

GpuInfo DrmBackend::info() { return {device_.abi(), device_.vram_bytes(), device_.gtt_bytes()}; }

void DrmBackend::create(const BufferRequest& request) {
    BufferSpec spec;
    spec.bytes = request.bytes;
    // VRAM alone: a buffer evicted from there comes back to VRAM when it is next used.
    spec.domains = request.domain == Domain::kVram ? VTTM_DOMAIN_VRAM : VTTM_DOMAIN_GTT;
    spec.caching = caching_of(request.caching);
    spec.tag = request.id;
    Buffer buffer(device_, spec);
    Binding binding = vm_.bind(buffer);
    buffers_.emplace(request.id, Bound{std::move(buffer), std::move(binding)});
}

void DrmBackend::destroy(std::uint32_t id) { buffers_.erase(id); }

const DrmBackend::Bound& DrmBackend::bound(std::uint32_t id) const {
    const auto it = buffers_.find(id);
    if (it == buffers_.end()) {
        throw Error(ENOENT, fmt::format("no buffer {}", id));
    }
    return it->second;
}

std::uint64_t DrmBackend::address(const StampRange& range) const {
    return bound(range.buffer).binding.va() + range.first_page * VTTM_PAGE_SIZE;
}

std::vector<std::uint32_t> DrmBackend::handles(std::span<const StampRange> ranges) const {
    std::vector<std::uint32_t> handles;
    handles.reserve(ranges.size() + 1);
    for (const StampRange& range : ranges) {
        handles.push_back(bound(range.buffer).buffer.handle());
    }
    std::sort(handles.begin(), handles.end());
    handles.erase(std::unique(handles.begin(), handles.end()), handles.end());
    return handles;
}

void DrmBackend::run(std::uint32_t engine, const PacketBuilder& packets,
                     std::span<const std::uint32_t> buffers) {
    Submission submission;
    submission.engine = engine;
    submission.packets = packets.dwords();
    submission.buffers = buffers;
    submit(device_, submission).wait();
}

void DrmBackend::stamp(std::span<const StampRange> ranges) {
    PacketBuilder packets;
    for (const StampRange& range : ranges) {
        packets.stamp_write(address(range), range);
    }
    run(VTTM_ENGINE_STAMP, packets, handles(ranges));
}

std::vector<vttm_stamp_result> DrmBackend::verify(std::span<const StampRange> ranges) {
    // The buffer for results lives for this call only: it is none of the run's buffers, and must
    // not show in the driver's counts between two steps.
    BufferSpec spec;
    spec.bytes = std::max<std::size_t>(ranges.size(), 1) * sizeof(vttm_stamp_result);
    const Buffer results(device_, spec);
    const Binding binding = vm_.bind(results);

    PacketBuilder packets;
    std::uint64_t result = binding.va();
    for (const StampRange& range : ranges) {
        packets.stamp_verify(address(range), range, result);
        result += sizeof(vttm_stamp_result);
    }
    std::vector<std::uint32_t> used = handles(ranges);
    used.push_back(results.handle());
    run(VTTM_ENGINE_STAMP, packets, used);

    std::vector<vttm_stamp_result> found(ranges.size());
    const Mapping mapping = results.map();
    if (!guarded_copy(found.data(), mapping.data(), found.size() * sizeof(vttm_stamp_result))) {
        throw Error(EFAULT, "the results of STAMP_VERIFY cannot be read (SIGBUS)");
    }
    return found;
}

void DrmBackend::make_resident(std::span<const StampRange> ranges) {
    PacketBuilder packets;
    packets.nop();
    run(VTTM_ENGINE_COPY, packets, handles(ranges));
}

std::unique_ptr<CpuView> DrmBackend::map(std::uint32_t id) {
    return std::make_unique<MappedView>(bound(id).buffer.map());
}

}  // namespace vttm::guest
