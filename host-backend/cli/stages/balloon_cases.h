// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {

// VRAM that the host takes back in awkward moments.
void run_balloon(const StageContext& context, report::TestResults& into);

}  // namespace vttm::cli
