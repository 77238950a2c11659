// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/subprocess.h"
#include "host-backend/machine/interrupt.h"

namespace vttm::cli {

void run_series(const StageContext& context, report::TestResults& into) {
    SubprocessRequest request;
    request.argv = {(context.source_root / "images/kernel/check_series.sh").string()};
    // Each row compiles a small kernel; this is for a machine that does much else.
    request.timeout = std::chrono::hours(6);
    request.cancelled = [] { return machine::interrupted() != 0; };
    std::string output;
    request.on_line = [&](std::string_view line) {
        output.append(line).append("\n");
        if (line.starts_with("vttm: ")) context.progress.note(std::string(line.substr(6)));
    };
    context.progress.phase("test series: compile the kernel after each patch, and in each configuration");
    const SubprocessResult result = run_subprocess(request);
    machine::throw_if_interrupted();
    try {
        into.append(report::parse_ktap(output));
    } catch (const report::ParseError&) {
        // The script ended before its first case; what it said is the reason.
    }
    if (result.status != 0 && into.counts().failed == 0)
        into.cases.push_back(make_case("series", "script", report::TestStatus::kFailed,
                                       fmt::format("{}; its output:\n{}",
                                                   result.timed_out ? "over its time limit"
                                                                    : fmt::format("exit {}", result.status),
                                                   output.substr(output.size() - std::min<std::size_t>(output.size(), 4096)))));
}

}  // namespace vttm::cli
