// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/swap_cycle_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>
#include <toml++/toml.h>

#include "host-backend/cli/ordered_faults.h"

namespace vttm::cli {
namespace {

using Setter = std::function<bool(const toml::node&)>;  // false: wrong type

template <typename T>
Setter number(T& target) {
    return [&target](const toml::node& n) {
        auto v = n.value<std::int64_t>();
        if (!n.is_integer() || !v || *v < 0) return false;
        target = static_cast<T>(*v);
        return true;
    };
}

Setter truth(bool& target) {
    return [&target](const toml::node& n) {
        auto v = n.value<bool>();
        if (!n.is_boolean() || !v) return false;
        target = *v;
        return true;
    };
}

Setter real(double& target) {
    return [&target](const toml::node& n) {
        auto v = n.value<double>();
        if (!n.is_number() || !v) return false;
        target = *v;
        return true;
    };
}

Setter text(std::string& target) {
    return [&target](const toml::node& n) {
        auto v = n.value<std::string>();
        if (!v) return false;
        target = *v;
        return true;
    };
}

Setter texts(std::vector<std::string>& target) {
    return [&target](const toml::node& n) {
        const toml::array* a = n.as_array();
        if (!a) return false;
        target.clear();
        for (const toml::node& e : *a) {
            auto v = e.value<std::string>();
            if (!v) return false;
            target.push_back(*v);
        }
        return true;
    };
}

}  // namespace

SwapCycleConfig load_swap_cycle(const std::filesystem::path& path) {
    SwapCycleConfig c;
    const std::map<std::string, Setter, std::less<>> keys = {
        {"name", text(c.name)},
        {"ram_mib", number(c.ram_mib)},
        {"vram_mib", number(c.vram_mib)},
        {"swap_mib", number(c.swap_mib)},
        {"gtt_buffers_mib", number(c.gtt_buffers_mib)},
        {"vram_buffers_mib", number(c.vram_buffers_mib)},
        {"cycles", number(c.cycles)},
        {"backups", texts(c.backups)},
        {"swapped_share", real(c.swapped_share)},
        {"hog_step_mib", number(c.hog_step_mib)},
        {"memcg_limit_mib", number(c.memcg_limit_mib)},
        {"vram_target_mib", number(c.vram_target_mib)},
        {"iommu", truth(c.iommu)},
        {"migrate", truth(c.migrate)},
        {"fault_plan", text(c.fault_plan)},
        {"seed", number(c.seed)},
        {"min_unchanged", real(c.min_unchanged)},
        {"min_unsplit", real(c.min_unsplit)},
        {"timeout_s", number(c.timeout_s)},
    };
    toml::table table;
    try {
        table = toml::parse_file(path.string());
    } catch (const toml::parse_error& e) {
        throw std::runtime_error(fmt::format("{}:{}: {}", path.string(), e.source().begin.line,
                                             std::string(e.description())));
    }
    for (const auto& [key, node] : table) {
        auto line = node.source().begin.line;
        auto it = keys.find(std::string_view(key.str()));
        if (it == keys.end())
            throw std::runtime_error(
                fmt::format("{}:{}: unknown key \"{}\"", path.string(), line, std::string(key.str())));
        if (!it->second(node))
            throw std::runtime_error(fmt::format("{}:{}: \"{}\" has a value of the wrong type",
                                                 path.string(), line, std::string(key.str())));
    }
    check_swap_cycle(c);
    return c;
}

void fit_to_variant(SwapCycleConfig& c, const machine::Variant& variant) {
    c.timeout_s = std::min<std::uint64_t>(c.timeout_s * static_cast<unsigned>(variant.patience), 86400);
    if (!variant.huge_pages) c.min_unsplit = 0;
}

void check_swap_cycle(const SwapCycleConfig& c) {
    auto in_range = [](const char* what, auto value, auto low, auto high) {
        if (!(value >= low && value <= high))  // refuses a NaN, too
            throw std::runtime_error(
                fmt::format("{} is {}, must be {} .. {}", what, value, low, high));
    };
    using u64 = std::uint64_t;
    in_range("ram_mib", c.ram_mib, u64{256}, u64{65536});
    in_range("vram_mib", c.vram_mib, u64{2}, u64{65536});
    if (c.vram_mib & (c.vram_mib - 1))
        throw std::runtime_error(fmt::format("vram_mib is {}, must be a power of two", c.vram_mib));
    in_range("swap_mib", c.swap_mib, u64{64}, u64{262144});
    in_range("gtt_buffers_mib", c.gtt_buffers_mib, u64{0}, u64{65536});
    in_range("vram_buffers_mib", c.vram_buffers_mib, u64{0}, u64{65536});
    in_range("cycles", c.cycles, 1u, 100000u);
    in_range("swapped_share", c.swapped_share, 0.0, 1.0);
    in_range("min_unchanged", c.min_unchanged, 0.0, 1.0);
    in_range("min_unsplit", c.min_unsplit, 0.0, 1.0);
    in_range("hog_step_mib", c.hog_step_mib, u64{1}, u64{4096});
    // Less, and the hog cannot even start.
    if (c.memcg_limit_mib) in_range("memcg_limit_mib", c.memcg_limit_mib, u64{8}, c.ram_mib);
    if (c.vram_target_mib) in_range("vram_target_mib", c.vram_target_mib, u64{2}, c.vram_mib - 2);
    if (c.vram_target_mib % 2)
        throw std::runtime_error(
            fmt::format("vram_target_mib is {}, must be even", c.vram_target_mib));
    if (!c.fault_plan.empty()) {
        check_fault_plan(c.fault_plan, c.vram_mib);
        if (c.migrate) throw std::runtime_error("fault_plan: a machine with one does not migrate (docs/migration.md)");
    }
    in_range("timeout_s", c.timeout_s, u64{10}, u64{86400});
    if (c.backups.empty())
        throw std::runtime_error("backups is empty, name some of copy, insert, swapcache");
    for (const std::string& b : c.backups)
        if (b != "copy" && b != "insert" && b != "swapcache")
            throw std::runtime_error(fmt::format(
                "backups names \"{}\", this kernel series has copy, insert and swapcache", b));
}

}  // namespace vttm::cli
