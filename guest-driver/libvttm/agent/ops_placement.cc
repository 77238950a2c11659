// SPDX-License-Identifier: Apache-2.0
// placement: the driver's claim where each page is.
#include <fmt/format.h>

#include <array>
#include <iterator>

#include "guest-driver/libvttm/agent/op.h"
#include "guest-driver/libvttm/agent/placement_parser.h"

namespace vttm::guest {
namespace {

// Written as text at once: with each page on its own there are more runs than a JSON tree should
// hold in a guest that is short of memory.
Reply placement(Context& context, const Request&, Events&) {
    const std::string directory = find_driver_debugfs(context.files);
    if (directory.empty()) {
        throw Error(ENODEV, "no directory of vttm in /sys/kernel/debug/dri (is debugfs mounted?)");
    }
    Reply reply;
    std::string& text = reply.raw_members;
    text = "\"buffers\":[";
    bool first_buffer = true;
    bool first_run = true;
    bool listed = false;
    PlacementParser parser({
        [&](std::uint32_t tag, std::uint64_t pages) {
            listed = tag != 0;  // what has no tag is no content of ours: results, and other processes' buffers
            if (!listed) return;
            fmt::format_to(std::back_inserter(text), "{}{{\"id\":{},\"pages\":{},\"runs\":[",
                           first_buffer ? "" : "]},", tag, pages);
            first_buffer = false;
            first_run = true;
        },
        [&](const PlacementRun& run) {
            if (!listed) return;
            fmt::format_to(std::back_inserter(text), "{}[{},{},\"{}\",{},{}]", first_run ? "" : ",",
                           run.first, run.count, run.kind, run.addr, run.slot);
            first_run = false;
        },
    });
    context.files.read_chunks(directory + "/placement",
                              [&parser](std::string_view chunk) { parser.feed(chunk); });
    parser.finish();
    text += first_buffer ? "]" : "]}]";
    return reply;
}

constexpr std::array kOps = {Op{"placement", placement}};

}  // namespace

std::span<const Op> placement_ops() { return kOps; }

}  // namespace vttm::guest
