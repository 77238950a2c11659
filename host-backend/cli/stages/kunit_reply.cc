// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/stages/kunit_reply.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {

using report::TestStatus;

void add_kunit_cases(const nlohmann::json& reply, std::size_t modules, const nlohmann::json& mode,
                     const std::string& backup, report::TestResults& into) {
    report::TestResults results;
    const auto failed = [&](const std::string& name, const std::string& test, std::string why) {
        results.cases.push_back(make_case(name, test, TestStatus::kFailed, std::move(why)));
    };
    if (mode != backup)
        failed("kunit", "backup_mode",
               fmt::format("the kernel runs with ttm.backup={}, asked for {}", mode.dump(), backup));
    const auto& suites = reply.at("results");
    for (const auto& suite : suites) {
        try {
            results.append(report::parse_ktap(suite.at("ktap").get<std::string>()));
        } catch (const report::ParseError& e) {
            failed(suite.at("suite").get<std::string>(), "ktap", e.what());
        }
    }
    if (suites.size() < modules)
        failed("kunit", "suites",
               fmt::format("{} modules gave only {} suites", modules, suites.size()));
    into.append(results, backup);
}

void keep_kunit_text(const nlohmann::json& reply, const std::filesystem::path& file) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream out(file, std::ios::app);
    for (const auto& suite : reply.at("results")) out << suite.at("ktap").get<std::string>();
    if (!out.flush())
        throw std::runtime_error(fmt::format("{} cannot be written", file.string()));
}

}  // namespace vttm::cli
