// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host-backend/cli/session.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/swap_cycle.h"

namespace vttm::cli {

// Moves that fail for good, of buffers of @cycle, which are good again at the end.
void run_lost_moves(const StageContext& context, Session& session, const SwapCycleConfig& config,
                    SwapCycle& cycle, report::TestResults& into);

}  // namespace vttm::cli
