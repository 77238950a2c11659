// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace vttm::guest {
namespace {

std::uint64_t to_number(const nlohmann::json& value, const char* name, std::uint64_t min,
                        std::uint64_t max) {
    if (!value.is_number_unsigned()) {
        throw RequestError(fmt::format("'{}' must be a whole number >= 0", name));
    }
    const auto number = value.get<std::uint64_t>();
    if (number < min || number > max) {
        throw RequestError(fmt::format("'{}' is {}, must be {} .. {}", name, number, min, max));
    }
    return number;
}

}  // namespace

const nlohmann::json& Request::member(const char* name) const {
    const auto it = members_.find(name);
    if (it == members_.end()) {
        throw RequestError(fmt::format("member '{}' is missing", name));
    }
    return *it;
}

std::string Request::text(const char* name) const {
    const nlohmann::json& value = member(name);
    if (!value.is_string()) {
        throw RequestError(fmt::format("'{}' must be a string", name));
    }
    return value.get<std::string>();
}

bool Request::flag(const char* name, bool missing) const {
    const auto it = members_.find(name);
    if (it == members_.end()) {
        return missing;
    }
    if (!it->is_boolean()) {
        throw RequestError(fmt::format("'{}' must be true or false", name));
    }
    return it->get<bool>();
}

std::uint64_t Request::number(const char* name, std::uint64_t min, std::uint64_t max) const {
    return to_number(member(name), name, min, max);
}

std::uint64_t Request::number(const char* name, std::uint64_t min, std::uint64_t max,
                              std::uint64_t missing) const {
    return members_.contains(name) ? number(name, min, max) : missing;
}

std::uint64_t Request::key(const char* name) const {
    const std::string digits = text(name);
    std::uint64_t key = 0;
    if (digits.size() > 2 && digits.starts_with("0x")) {
        const char* first = digits.data() + 2;
        const char* last = digits.data() + digits.size();
        const auto [end, error] = std::from_chars(first, last, key, 16);
        if (error == std::errc{} && end == last) {
            return key;
        }
    }
    throw RequestError(fmt::format("'{}' must be a hex string 0x… of at most 64 bits", name));
}

const nlohmann::json& Request::list(const char* name) const {
    const nlohmann::json& value = member(name);
    if (!value.is_array()) {
        throw RequestError(fmt::format("'{}' must be a list", name));
    }
    return value;
}

std::vector<std::string> Request::texts(const char* name) const {
    std::vector<std::string> texts;
    for (const nlohmann::json& value : list(name)) {
        if (!value.is_string()) {
            throw RequestError(fmt::format("'{}' must be a list of strings", name));
        }
        texts.push_back(value.get<std::string>());
    }
    return texts;
}

IdSelection Request::ids() const {
    const nlohmann::json& value = member("ids");
    if (value.is_string() && value.get_ref<const std::string&>() == "all") {
        return std::nullopt;
    }
    if (!value.is_array()) {
        throw RequestError("'ids' must be a list of buffer ids or \"all\"");
    }
    std::vector<std::uint32_t> ids;
    ids.reserve(value.size());
    for (const nlohmann::json& id : value) {
        ids.push_back(static_cast<std::uint32_t>(
            to_number(id, "ids", 1, std::numeric_limits<std::uint32_t>::max())));
    }
    return ids;
}

std::size_t Request::choice(const char* name, const std::vector<std::string>& choices) const {
    const std::string value = text(name);
    const auto it = std::find(choices.begin(), choices.end(), value);
    if (it == choices.end()) {
        throw RequestError(
            fmt::format("'{}' is '{}', must be one of: {}", name, value, fmt::join(choices, ", ")));
    }
    return static_cast<std::size_t>(it - choices.begin());
}

}  // namespace vttm::guest
