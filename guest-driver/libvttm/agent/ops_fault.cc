// SPDX-License-Identifier: Apache-2.0
// fault: faults that test the host's verdicts.
#include <array>

#include "guest-driver/libvttm/agent/op.h"

namespace vttm::guest {
namespace {

Reply fault(Context& context, const Request& request, Events&) {
    const auto kind =
        static_cast<Fault>(request.choice("kind", {"panic", "hang", "oops", "agent-exit"}));
    context.machine.plant(kind);
    // Only a fault that could not be planted gets here.
    throw Error(EOPNOTSUPP, "this guest cannot plant that fault");
}

constexpr std::array kOps = {Op{"fault", fault}};

}  // namespace

std::span<const Op> fault_ops() { return kOps; }

}  // namespace vttm::guest
