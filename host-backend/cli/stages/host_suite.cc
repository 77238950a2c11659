// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "host-backend/cli/meson_introspect.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/subprocess.h"
#include "host-backend/machine/interrupt.h"

namespace vttm::cli {
namespace {

using report::TestStatus;

bool in_suite(const nlohmann::json& test, const std::string& suite) {
    for (const auto& s : test.at("suite")) {
        auto name = s.get<std::string>();
        if (name == suite || name.ends_with(":" + suite)) return true;
    }
    return false;
}

report::TestResults run_program(const StageContext& context, const nlohmann::json& test,
                                const std::filesystem::path& json) {
    const auto name = test.at("name").get<std::string>();
    SubprocessRequest request;
    request.argv = test.at("cmd").get<std::vector<std::string>>();
    auto env = test.at("env").get<std::map<std::string, std::string>>();
    env["GTEST_OUTPUT"] = "json:" + json.string();
    env["VTTM_QEMU"] = context.manifest.qemu.string();
    // In place of Meson's, which names the machine of its own build: asked for is perhaps another.
    env["VTTM_VM"] = std::filesystem::absolute(context.common.vm_json).string();
    env["VTTM_SOURCE_ROOT"] = context.source_root.string();
    for (const auto& [key, value] : env) request.env.push_back(key + "=" + value);
    // Meson's limit is for an idle machine and variant base.
    const std::chrono::seconds limit = context.variant.scaled(
        std::chrono::seconds(std::max(600, test.at("timeout").get<int>())));
    request.timeout = limit;
    request.own_tmpdir = true;
    request.cancelled = [] { return machine::interrupted() != 0; };
    std::string tail;
    request.on_line = [&](std::string_view line) {
        tail.append(line).append("\n");
        if (tail.size() > 16384) tail.erase(0, tail.size() - 8192);
    };
    std::filesystem::remove(json);
    const SubprocessResult r = run_subprocess(request);
    machine::throw_if_interrupted();

    report::TestResults results;
    std::ostringstream text;
    text << std::ifstream(json).rdbuf();
    bool parsed = true;
    try {
        results.append(report::parse_gtest_json(text.str()), name);
    } catch (const report::ParseError&) {
        parsed = false;
    }
    // A program that dies must not pass for what it printed before; one that fails tells in its
    // cases, or else here.
    const bool failed_case = results.counts().failed > 0;
    if (!parsed || r.timed_out || (r.status != 0 && !failed_case) || results.cases.empty())
        results.cases.push_back(make_case(
            name, "program", TestStatus::kFailed,
            fmt::format("{}; last output:\n{}",
                        r.timed_out ? fmt::format("over its {} s", limit.count())
                                    : fmt::format("exit {}", r.status),
                        tail)));
    return results;
}

}  // namespace

void run_host_suite(const StageContext& context, const std::string& suite, report::TestResults& into) {
    const auto dir = context.common.build_dir() / "reports" / "gtest";
    std::filesystem::create_directories(dir);
    bool any = false;
    for (const auto& test : meson_introspect(context.common.build_dir(), "--tests")) {
        if (!in_suite(test, suite)) continue;
        any = true;
        const auto name = test.at("name").get<std::string>();
        context.progress.phase(fmt::format("test {}: {}", suite, name));
        into.append(run_program(context, test, dir / (suite + "-" + name + ".json")));
    }
    if (!any)
        into.cases.push_back(make_case(suite, "programs", TestStatus::kFailed,
                                       "the build has no test program in this suite"));
}

}  // namespace vttm::cli
