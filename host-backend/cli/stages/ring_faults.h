// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host-backend/cli/session.h"
#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {

// Faults in the middle of jobs that follow each other in a ring. No buffer of @session is there.
// The driver is left impatient.
void run_ring_faults(const StageContext& context, Session& session, report::TestResults& into);

}  // namespace vttm::cli
