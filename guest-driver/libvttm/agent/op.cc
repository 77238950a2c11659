// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/op.h"

namespace vttm::guest {

Handler find_op(std::string_view name) {
    for (const auto& group : {system_ops(), buffer_ops(), placement_ops(), counter_ops(),
                              pressure_ops(), exec_ops(), fault_ops(), trace_ops()}) {
        for (const Op& op : group) {
            if (op.name == name) {
                return op.handler;
            }
        }
    }
    return nullptr;
}

}  // namespace vttm::guest
