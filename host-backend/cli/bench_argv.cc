// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "host-backend/cli/commands.h"

namespace vttm::cli {

std::vector<std::string> bench_run_argv(const CommonOptions& common, const BenchOptions& options,
                                        const Manifest& manifest,
                                        const std::vector<std::string>& backups,
                                        const std::filesystem::path& json) {
    std::vector<std::string> argv = {(options.source_root / "vttm").string(),
                                     "run",
                                     "--variant=" + manifest.variant,
                                     options.scenario,
                                     "--backup",
                                     fmt::format("{}", fmt::join(backups, ",")),
                                     "--json",
                                     json.string()};
    const auto pass_on = [&](const char* option, const std::string& value) {
        if (value.empty()) return;
        argv.emplace_back(option);
        argv.push_back(value);
    };
    pass_on("--connect", common.connect_uri);
    pass_on("--logs", common.logs_dir.string());
    pass_on("--accel", common.accel);
    pass_on("--cmdline", common.cmdline);
    if (common.vcpus != 1) pass_on("--vcpus", std::to_string(common.vcpus));
    if (common.keep) argv.emplace_back("--keep");
    return argv;
}

}  // namespace vttm::cli
