// SPDX-License-Identifier: Apache-2.0
// Collects witness records of one engine and merges neighbouring pages into runs.
#pragma once

#include <cstddef>
#include <vector>

#include "host-backend/model/bus.h"

namespace vttm::model {

class WitnessLog {
public:
    explicit WitnessLog(const Bus& bus);

    // Adds @rec (any npages). It becomes part of the last record if it continues that one.
    // May call the embedder.
    void add(const vttm_witness_record& rec);
    // Hands everything to the embedder.
    void flush();
    bool empty() const { return pending_.empty(); }

private:
    const Bus& bus_;
    std::vector<vttm_witness_record> pending_;
};

}  // namespace vttm::model
