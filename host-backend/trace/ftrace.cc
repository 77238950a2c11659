// SPDX-License-Identifier: Apache-2.0
#include "host-backend/trace/ftrace.h"

#include <algorithm>
#include <charconv>

namespace vttm::trace {
namespace {

// "%16s-%-7d ": the name of a process has at most 15 bytes, and any byte may be in it.
constexpr std::size_t kCommWidth = 16;
constexpr std::uint64_t kMaxSeconds = 1ull << 32;

void skip_blanks(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
}

template <typename T>
bool take_number(std::string_view& text, T& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

bool take(std::string_view& text, std::string_view word) {
    if (!text.starts_with(word)) return false;
    text.remove_prefix(word.size());
    return true;
}

// Where the value of a field begins; npos if there is no such field.
std::size_t value_of(std::string_view fields, std::string_view name) {
    if (name.empty()) return fields.npos;
    for (std::size_t at = 0; (at = fields.find(name, at)) != fields.npos; at += name.size())
        if ((at == 0 || fields[at - 1] == ' ' || fields[at - 1] == ',') &&
            fields.substr(at + name.size()).starts_with('='))
            return at + name.size() + 1;
    return fields.npos;
}

}  // namespace

std::optional<GuestEvent> parse_event(std::string_view line) {
    GuestEvent e;
    if (line.size() <= kCommWidth || line[kCommWidth] != '-') return std::nullopt;
    std::string_view comm = line.substr(0, kCommWidth);
    skip_blanks(comm);
    e.comm = comm;
    line.remove_prefix(kCommWidth + 1);
    if (!take_number(line, e.pid)) return std::nullopt;
    skip_blanks(line);
    if (!take(line, "[") || !take_number(line, e.cpu) || !take(line, "] ")) return std::nullopt;
    // The flags: one word.
    skip_blanks(line);
    line.remove_prefix(std::min(line.find(' '), line.size()));
    skip_blanks(line);
    std::uint64_t seconds = 0, micros = 0;
    if (!take_number(line, seconds) || seconds >= kMaxSeconds || !take(line, ".")) return std::nullopt;
    const std::size_t digits = line.find(':');
    if (digits != 6 || !take_number(line, micros) || !take(line, ": ")) return std::nullopt;
    e.time_ns = seconds * 1'000'000'000 + micros * 1000;
    const std::size_t colon = line.find(':');
    if (colon == 0 || colon == line.npos || line.substr(0, colon).find(' ') != line.npos)
        return std::nullopt;
    e.name = line.substr(0, colon);
    line.remove_prefix(colon + 1);
    skip_blanks(line);
    e.fields = line;
    return e;
}

void GuestTrace::line(std::string_view text) {
    if (text.empty() || text.starts_with('#')) return;
    // "CPU:0 [LOST 7 EVENTS]"; without a number where the kernel does not know it.
    if (text.starts_with("CPU:")) {
        const std::size_t at = text.find(" [LOST ");
        if (at != text.npos && text.ends_with("EVENTS]")) {
            std::string_view number = text.substr(at + 7);
            std::uint64_t n = 0;
            if (take_number(number, n) && number == " EVENTS]")
                lost += n;
            else
                lost_unknown = true;
            return;
        }
    }
    std::optional<GuestEvent> event = parse_event(text);
    if (!event)
        ++unparsed;
    else if (events.size() == kMaxEvents)
        ++too_many;
    else
        events.push_back(std::move(*event));
}

void GuestTrace::add(std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const bool whole = end < text.size();
        if (skipping_) {
        } else if (partial_.size() + end > kMaxLine) {
            partial_.clear();
            ++unparsed;
            skipping_ = true;
        } else {
            partial_.append(text.substr(0, end));
        }
        if (whole) {
            if (!skipping_) line(partial_);
            partial_.clear();
            skipping_ = false;
        }
        text.remove_prefix(end + whole);
    }
}

void GuestTrace::finish() { add("\n"); }

std::optional<std::uint64_t> field_number(std::string_view fields, std::string_view name) {
    const std::size_t at = value_of(fields, name);
    if (at == fields.npos) return std::nullopt;
    std::string_view text = fields.substr(at);
    std::uint64_t value = 0;
    if (!take_number(text, value) || (!text.empty() && text.front() != ' ' && text.front() != ','))
        return std::nullopt;
    return value;
}

std::string_view field_text(std::string_view fields, std::string_view name) {
    const std::size_t at = value_of(fields, name);
    if (at == fields.npos) return {};
    const std::string_view text = fields.substr(at);
    return text.substr(0, text.find_first_of(" ,"));
}

}  // namespace vttm::trace
