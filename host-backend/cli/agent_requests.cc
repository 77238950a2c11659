// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/agent_requests.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "host-backend/oracle/page.h"

namespace vttm::cli {
namespace {

oracle::Domain domain_of(const std::string& name) {
    for (auto d : {oracle::Domain::kVram, oracle::Domain::kGtt})
        if (name == name_of(d)) return d;
    throw std::invalid_argument("no domain is called " + name);
}

oracle::Caching caching_of(const std::string& name) {
    for (auto c : {oracle::Caching::kWb, oracle::Caching::kWc, oracle::Caching::kUc})
        if (name == name_of(c)) return c;
    throw std::invalid_argument("no caching is called " + name);
}

}  // namespace

nlohmann::json create_request(std::span<const PlannedBuffer> buffers) {
    nlohmann::json list = nlohmann::json::array();
    for (const PlannedBuffer& b : buffers)
        list.push_back(
            {{"id", b.id}, {"bytes", b.bytes}, {"domain", b.domain}, {"caching", b.caching}});
    return {{"buffers", std::move(list)}};
}

oracle::BufferInfo booked(const PlannedBuffer& buffer) {
    return {.id = buffer.id,
            .pages = buffer.bytes / oracle::kPageSize,
            .domain = domain_of(buffer.domain),
            .caching = caching_of(buffer.caching),
            .generation = 0};
}

std::vector<Portion> verify_portions(const oracle::Ledger& ledger, By by, std::uint64_t portion_pages) {
    std::map<std::uint32_t, std::vector<std::uint32_t>> by_generation;
    for (const auto& [id, info] : ledger.buffers())
        if (info.generation) by_generation[info.generation].push_back(id);
    std::vector<Portion> out;
    for (auto& [generation, ids] : by_generation) {
        if (by == By::kCpu) std::reverse(ids.begin(), ids.end());
        Portion portion{.generation = generation};
        for (std::uint32_t id : ids) {
            portion.ids.push_back(id);
            portion.pages += ledger.find(id)->pages;
            if (portion.pages < portion_pages) continue;
            out.push_back(std::move(portion));
            portion = {.generation = generation};
        }
        if (!portion.ids.empty()) out.push_back(std::move(portion));
    }
    return out;
}

oracle::Counters parse_counters(const nlohmann::json& reply) {
    oracle::Counters out;
    const auto take = [&](const char* group, const std::string& prefix) {
        if (!reply.contains(group) || !reply[group].is_object()) return;
        for (const auto& [name, value] : reply[group].items())
            if (value.is_number_integer()) out[prefix + name] = value.get<std::int64_t>();
    };
    take("vmstat", "");
    take("backup", "");
    take("swap_backup", "swap_backup.");
    take("vttm", "vttm.");
    take("memcg", "memcg.");
    out["swap_used"] =
        reply.at("swaps").get<std::int64_t>() / static_cast<std::int64_t>(oracle::kPageSize);
    return out;
}

}  // namespace vttm::cli
