// SPDX-License-Identifier: Apache-2.0
// Power-off and planted faults for real.
#pragma once

#include "guest-driver/libvttm/agent/context.h"

namespace vttm::guest {

MachineActions real_machine_actions();

}  // namespace vttm::guest
