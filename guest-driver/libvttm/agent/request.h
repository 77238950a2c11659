// SPDX-License-Identifier: Apache-2.0
// A request's members, typed and range-checked, and the reply to it.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {

// A request that is wrong in itself (EINVAL unless said otherwise).
class RequestError : public Error {
public:
    explicit RequestError(const std::string& what, int error = EINVAL) : Error(error, what) {}
};

// Which buffers: none given means "all".
using IdSelection = std::optional<std::vector<std::uint32_t>>;

// View of one JSON object. Each getter throws RequestError, naming the member, if it is missing
// (without a default), of another type or out of range.
class Request {
public:
    explicit Request(const nlohmann::json& members) : members_(members) {}

    bool has(const char* name) const { return members_.contains(name); }
    std::string text(const char* name) const;
    bool flag(const char* name, bool missing) const;
    std::uint64_t number(const char* name, std::uint64_t min, std::uint64_t max) const;
    std::uint64_t number(const char* name, std::uint64_t min, std::uint64_t max,
                         std::uint64_t missing) const;
    // A hex string "0x…" of at most 64 bits.
    std::uint64_t key(const char* name) const;
    std::vector<std::string> texts(const char* name) const;
    // "ids": a list of buffer ids, or "all".
    IdSelection ids() const;
    const nlohmann::json& list(const char* name) const;
    // One of `choices` (an array of names); returns its index.
    std::size_t choice(const char* name, const std::vector<std::string>& choices) const;

private:
    const nlohmann::json& member(const char* name) const;

    const nlohmann::json& members_;
};

struct Reply {
    nlohmann::json members = nlohmann::json::object();
    // Members that are already JSON text (`"name":value,...`), for answers too big for a tree.
    std::string raw_members;
    // Run after the reply has been sent.
    std::function<void()> then;
};

}  // namespace vttm::guest
