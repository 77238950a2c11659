// SPDX-License-Identifier: Apache-2.0
#include "host-backend/text/xml_escape.h"

#include <cstdint>
#include <stdexcept>

namespace vttm::text {
namespace {

struct Character {
    std::size_t bytes;  // at least 1
    bool fit;
};

// The character at the start of @text, which is not empty. Overlong forms are unfit.
Character first_character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return {1, lead >= 0x20};
    const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {1, false};
    std::uint32_t code = lead & (0x7f >> bytes);
    for (std::size_t i = 1; i < bytes; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {1, false};
        code = code << 6 | (byte(i) & 0x3f);
    }
    constexpr std::uint32_t kLeast[] = {0x80, 0x800, 0x10000};
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    if (code < kLeast[bytes - 2] || code > 0x10ffff || surrogate) return {1, false};
    return {bytes, code != 0xfffe && code != 0xffff};
}

const char* entity(char c, Unfit unfit) {
    switch (c) {
        case '&':
            return "&amp;";
        case '<':
            return "&lt;";
        case '>':
            return "&gt;";
        case '\'':
            return "&apos;";
        case '"':
            return "&quot;";
        default:
            break;
    }
    if (unfit == Unfit::kRefuse) return nullptr;
    // As references they survive the normalisation of attributes.
    return c == '\t' ? "&#9;" : c == '\n' ? "&#10;" : c == '\r' ? "&#13;" : nullptr;
}

}  // namespace

std::string xml_escape(std::string_view text, Unfit unfit) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const Character c = first_character(text);
        if (const char* instead = entity(text[0], unfit))
            out += instead;
        else if (c.fit)
            out += text.substr(0, c.bytes);
        else if (unfit == Unfit::kReplace)
            out += '?';
        else
            throw std::invalid_argument("a character that XML cannot hold in a parameter");
        text.remove_prefix(c.bytes);
    }
    return out;
}

}  // namespace vttm::text
