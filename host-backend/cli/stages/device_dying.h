// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host-backend/cli/session.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/swap_cycle.h"

namespace vttm::cli {

// A device that resets itself or is gone, under the buffers of @cycle, which are freed at the end.
void run_dying_device(const StageContext& context, Session& session, const SwapCycleConfig& config,
                      SwapCycle& cycle, report::TestResults& into);

}  // namespace vttm::cli
