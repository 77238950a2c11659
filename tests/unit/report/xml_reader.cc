// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/report/xml_reader.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>

#include "host-backend/report/test_results.h"

namespace vttm::report {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

void append_utf8(std::string& out, std::uint32_t c) {
    if (c < 0x80) {
        out += static_cast<char>(c);
    } else if (c < 0x800) {
        out += static_cast<char>(0xc0 | (c >> 6));
        out += static_cast<char>(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        out += static_cast<char>(0xe0 | (c >> 12));
        out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
        out += static_cast<char>(0x80 | (c & 0x3f));
    } else {
        out += static_cast<char>(0xf0 | (c >> 18));
        out += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
        out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
        out += static_cast<char>(0x80 | (c & 0x3f));
    }
}

}  // namespace

void XmlReader::fail(std::string_view what) const {
    throw ParseError(fmt::format("XML, byte {}: {}", at_, what));
}

bool XmlReader::skip_past(std::string_view open, std::string_view close) {
    if (!text_.substr(at_).starts_with(open)) return false;
    const std::size_t end = text_.find(close, at_ + open.size());
    if (end == std::string_view::npos) fail("unexpected end");
    at_ = end + close.size();
    return true;
}

void XmlReader::skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) at_++;
}

std::string XmlReader::read_name() {
    const std::size_t start = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) &&
           std::string_view("=/><\"'&").find(text_[at_]) == std::string_view::npos) {
        at_++;
    }
    if (at_ == start) fail("a name is missing");
    return std::string(text_.substr(start, at_ - start));
}

std::string XmlReader::decode(std::string_view raw) const {
    std::string out;
    for (std::size_t i = 0; i < raw.size();) {
        if (raw[i] != '&') {
            out += raw[i++];
            continue;
        }
        const std::size_t end = raw.find(';', i);
        if (end == std::string_view::npos) fail("an entity has no end");
        std::string_view entity = raw.substr(i + 1, end - i - 1);
        if (entity == "amp") {
            out += '&';
        } else if (entity == "lt") {
            out += '<';
        } else if (entity == "gt") {
            out += '>';
        } else if (entity == "quot") {
            out += '"';
        } else if (entity == "apos") {
            out += '\'';
        } else if (entity.starts_with('#')) {
            entity.remove_prefix(1);
            const bool hex = entity.starts_with('x');
            if (hex) entity.remove_prefix(1);
            std::uint32_t code = 0;
            const auto [stop, error] =
                std::from_chars(entity.data(), entity.data() + entity.size(), code, hex ? 16 : 10);
            if (error != std::errc() || stop != entity.data() + entity.size() || entity.empty() ||
                code > 0x10ffff) {
                fail("a bad numeric entity");
            }
            append_utf8(out, code);
        } else {
            fail(fmt::format("unknown entity &{};", entity));
        }
        i = end + 1;
    }
    return out;
}

XmlReader::Event XmlReader::read_start() {
    if (open_.empty() && seen_root_) fail("more than one root element");
    seen_root_ = true;
    name_ = read_name();
    attributes_.clear();
    for (;;) {
        skip_space();
        if (at_ >= text_.size()) fail("unexpected end in an element");
        if (text_[at_] == '>') {
            at_++;
            break;
        }
        if (text_.substr(at_).starts_with("/>")) {
            at_ += 2;
            close_next_ = true;
            break;
        }
        const std::string key = read_name();
        skip_space();
        if (at_ >= text_.size() || text_[at_] != '=') fail("an attribute has no value");
        at_++;
        skip_space();
        if (at_ >= text_.size() || (text_[at_] != '"' && text_[at_] != '\'')) {
            fail("an attribute value is not quoted");
        }
        const std::size_t end = text_.find(text_[at_], at_ + 1);
        if (end == std::string_view::npos) fail("an attribute value has no end");
        attributes_[key] = decode(text_.substr(at_ + 1, end - at_ - 1));
        at_ = end + 1;
    }
    open_.push_back(name_);
    return Event::kStart;
}

XmlReader::Event XmlReader::next() {
    if (close_next_) {
        close_next_ = false;
        open_.pop_back();
        return Event::kEnd;
    }
    for (;;) {
        if (at_ >= text_.size()) {
            if (!open_.empty()) fail(fmt::format("element {} is still open", open_.back()));
            if (!seen_root_) fail("no element at all");
            return Event::kDone;
        }
        if (text_[at_] != '<') {
            std::size_t end = text_.find('<', at_);
            if (end == std::string_view::npos) end = text_.size();
            const std::string_view raw = text_.substr(at_, end - at_);
            const bool blank = raw.find_first_not_of(" \t\r\n") == std::string_view::npos;
            if (!blank && open_.empty()) fail("text outside of the root element");
            value_ = blank ? std::string() : decode(raw);
            at_ = end;
            if (blank) continue;
            return Event::kText;
        }
        if (text_.substr(at_).starts_with("<![CDATA[")) {
            const std::size_t start = at_ + 9;
            const std::size_t end = text_.find("]]>", start);
            if (end == std::string_view::npos) fail("CDATA has no end");
            value_ = std::string(text_.substr(start, end - start));
            at_ = end + 3;
            return Event::kText;
        }
        if (skip_past("<!--", "-->") || skip_past("<?", "?>") || skip_past("<!", ">")) continue;
        if (text_.substr(at_).starts_with("</")) {
            at_ += 2;
            name_ = read_name();
            skip_space();
            if (at_ >= text_.size() || text_[at_] != '>') fail("a bad end tag");
            at_++;
            if (open_.empty() || open_.back() != name_) {
                fail(fmt::format("end of {} without its start", name_));
            }
            open_.pop_back();
            return Event::kEnd;
        }
        at_++;
        return read_start();
    }
}

std::string XmlReader::attribute(const std::string& key, std::string fallback) const {
    const auto it = attributes_.find(key);
    return it == attributes_.end() ? std::move(fallback) : it->second;
}

}  // namespace vttm::report
