// SPDX-License-Identifier: Apache-2.0
// A made-up run with two backups, for the tests of the table and of JSON.
#pragma once

#include "host-backend/report/run_report.h"

namespace vttm::report::test {

oracle::WitnessReport witness(oracle::Witness who, std::uint64_t checked);
oracle::BadPage bad_page();  // stale, in swap slot 345

// Two cycles of copy, one of insert; all pass.
RunReport sample_run();

}  // namespace vttm::report::test
