// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <stdexcept>

#include "host-backend/oracle/forensics.h"
#include "host-backend/oracle/ledger.h"

namespace vttm::oracle {

class CpuReportError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// The guest CPU's findings, from the agent's reply to `buffers.verify` with `by` = `cpu`
// (docs/agent-protocol.md). Throws CpuReportError if the reply contradicts itself or the ledger:
// counts that do not add up, a page listed twice, a page that does not exist or was never filled.
WitnessReport cpu_report(const nlohmann::json& reply, const Ledger& ledger);

// Adds the findings of a further part of the buffers (another set of pages) to @into.
void append(WitnessReport& into, const WitnessReport& part);

}  // namespace vttm::oracle
