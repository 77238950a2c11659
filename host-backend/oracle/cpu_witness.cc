// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/cpu_witness.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "host-backend/oracle/claim_items.h"

namespace vttm::oracle {
namespace {

using nlohmann::json;

std::uint64_t number(const json& from, const char* key) {
    const auto it = from.is_object() ? from.find(key) : from.end();
    if (!from.is_object() || it == from.end() || !it->is_number_integer() ||
        (!it->is_number_unsigned() && it->get<std::int64_t>() < 0)) {
        throw CpuReportError(fmt::format("verify reply: no valid number `{}` in {}", key,
                                         from.dump().substr(0, 200)));
    }
    return it->get<std::uint64_t>();
}

BadPage bad_from(const json& v, const Ledger& ledger) {
    const PageId id{static_cast<std::uint32_t>(number(v, "buffer")), number(v, "page")};
    const auto want = ledger.expected(id);
    if (!want || id.buffer != number(v, "buffer")) {
        throw CpuReportError(
            fmt::format("verify reply: buffer {} page {} is no filled page of the ledger",
                        number(v, "buffer"), id.page));
    }
    if (!v.contains("class") || !v["class"].is_string()) {
        throw CpuReportError("verify reply: a bad page has no `class`");
    }
    const auto cls = page_class_from_name(v["class"].get_ref<const std::string&>());
    if (!cls || *cls == PageClass::kGood) {
        throw CpuReportError(
            fmt::format("verify reply: a bad page of class {}", v["class"].dump()));
    }
    BadPage bad;
    bad.id = id;
    bad.generation = want->generation;
    bad.cls = *cls;
    if (const auto f = v.find("found"); f != v.end() && f->is_object()) {
        bad.found =
            vttm_stamp_id{.key = ledger.key(),
                          .page = number(*f, "page"),
                          .buffer = static_cast<std::uint32_t>(number(*f, "buffer")),
                          .generation = static_cast<std::uint32_t>(number(*f, "generation"))};
    }
    return bad;
}

}  // namespace

WitnessReport cpu_report(const json& reply, const Ledger& ledger) {
    WitnessReport report;
    report.who = Witness::kCpu;
    report.present = true;
    report.checked = number(reply, "pages");
    const std::uint64_t good = number(reply, "good");
    if (!reply.contains("bad") || !reply["bad"].is_array()) {
        throw CpuReportError("verify reply: no array `bad`");
    }
    for (const json& v : reply["bad"]) report.bad.push_back(bad_from(v, ledger));
    sort_by_page(report.bad);
    const auto twice =
        std::adjacent_find(report.bad.begin(), report.bad.end(),
                           [](const BadPage& a, const BadPage& b) { return a.id == b.id; });
    if (twice != report.bad.end()) {
        throw CpuReportError(fmt::format("verify reply: buffer {} page {} is listed twice",
                                         twice->id.buffer, twice->id.page));
    }
    if (good > report.checked || report.checked - good != report.bad.size()) {
        throw CpuReportError(fmt::format("verify reply: {} pages, {} good, but {} bad listed",
                                         report.checked, good, report.bad.size()));
    }
    return report;
}

void append(WitnessReport& into, const WitnessReport& part) {
    into.present |= part.present;
    into.checked += part.checked;
    into.bad.insert(into.bad.end(), part.bad.begin(), part.bad.end());
    sort_by_page(into.bad);
}

}  // namespace vttm::oracle
