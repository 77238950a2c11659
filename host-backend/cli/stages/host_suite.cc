// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/subprocess.h"
#include "host-backend/machine/interrupt.h"

namespace vttm::cli {
namespace {

using report::TestStatus;

// What Meson knows of its tests: a list of {name, suite, cmd, env, timeout}.
nlohmann::json introspect_tests(const std::filesystem::path& build) {
    std::string text;
    auto r = run_subprocess({.argv = {"meson", "introspect", "--tests", build.string()},
                             .on_line = [&](std::string_view l) { text.append(l); }});
    auto list = nlohmann::json::parse(text, nullptr, false);
    if (r.status != 0 || !list.is_array())
        throw std::runtime_error(fmt::format("meson introspect --tests {}: exit {}", build.string(),
                                             r.status));
    return list;
}

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
    for (const auto& [key, value] : test.at("env").items())
        request.env.push_back(key + "=" + value.get<std::string>());
    request.env.push_back("GTEST_OUTPUT=json:" + json.string());
    request.env.push_back("VTTM_QEMU=" + context.manifest.qemu.string());
    request.env.push_back("VTTM_VM_JSON=" + context.common.vm_json.string());
    request.env.push_back("VTTM_SOURCE_ROOT=" + context.source_root.string());
    request.timeout = std::chrono::seconds(600);
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
                        r.timed_out ? "over its 600 s" : fmt::format("exit {}", r.status), tail)));
    return results;
}

}  // namespace

report::TestCase make_case(std::string suite, std::string name, TestStatus status,
                           std::string message) {
    report::TestCase c;
    c.suite = std::move(suite);
    c.name = std::move(name);
    c.status = status;
    c.message = std::move(message);
    return c;
}

report::TestResults run_host_suite(const StageContext& context, const std::string& suite) {
    report::TestResults all;
    const auto dir = context.common.build_dir() / "reports" / "gtest";
    std::filesystem::create_directories(dir);
    for (const auto& test : introspect_tests(context.common.build_dir())) {
        if (!in_suite(test, suite)) continue;
        const auto name = test.at("name").get<std::string>();
        context.progress.phase(fmt::format("test {}: {}", suite, name));
        all.append(run_program(context, test, dir / (suite + "-" + name + ".json")));
    }
    if (all.cases.empty())
        all.cases.push_back(make_case(suite, "programs", TestStatus::kFailed,
                                      "the build has no test program in this suite"));
    return all;
}

}  // namespace vttm::cli
