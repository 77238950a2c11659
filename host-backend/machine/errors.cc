// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/errors.h"

#include <fmt/format.h>

namespace vttm::machine {
namespace {

std::string compose(const Problem& p) {
    std::string text = p.what;
    if (!p.excerpt.empty()) text += "\n" + p.excerpt;
    if (!text.ends_with('\n')) text += '\n';
    if (!p.where.empty()) text += fmt::format("  where:      {}\n", p.where.string());
    if (!p.todo.empty()) text += fmt::format("  what to do: {}\n", p.todo);
    text.pop_back();
    return text;
}

Problem agent_problem(const std::string& op, const std::string& text, int error_number) {
    Problem p;
    p.what = fmt::format("the agent could not do '{}': {}", op, text);
    if (error_number != 0) p.what += fmt::format(" (guest errno {})", error_number);
    return p;
}

}  // namespace

Error::Error(Exit exit, Problem problem)
    : std::runtime_error(compose(problem)), exit_(exit), problem_(std::move(problem)) {}

const char* Error::kind() const noexcept {
    switch (exit_) {
        case Exit::kGuestPanic:
            return "guest-panic";
        case Exit::kGuestHang:
            return "guest-hang";
        case Exit::kTimeout:
            return "timeout";
        case Exit::kInfrastructure:
            return "infrastructure";
        case Exit::kInconclusive:
            return "inconclusive";
        case Exit::kLeak:
            return "leak";
        case Exit::kTooLittleDisk:
            return "too-little-disk";
        case Exit::kTooLittleRam:
            return "too-little-ram";
        case Exit::kNoBoot:
            return "no-boot";
        case Exit::kInterrupted:
            return "interrupted";
    }
    return "unknown";
}

AgentError::AgentError(std::string the_op, std::string agent_text, int agent_errno)
    : InfraError(agent_problem(the_op, agent_text, agent_errno)),
      op(std::move(the_op)),
      text(std::move(agent_text)),
      error_number(agent_errno) {}

}  // namespace vttm::machine
