// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/qtest/snapshots.h"

#include <thread>

namespace vttm::qtest {

using nlohmann::json;

Snapshots::Snapshots(Vm& vm) : vm_(vm) {
    Must("blockdev-create", {{"options", {{"driver", "file"}, {"filename", image()}, {"size", 0}}}});
    vm_.Qmp("blockdev-add", {{"driver", "file"}, {"node-name", "file0"}, {"filename", image()}});
    Must("blockdev-create", {{"options", {{"driver", "qcow2"}, {"file", "file0"}, {"size", kMiB}}}});
    vm_.Qmp("blockdev-add", {{"driver", "qcow2"}, {"node-name", "disk0"}, {"file", "file0"}});
}

void Snapshots::Must(const std::string& command, const json& arguments) {
    if (const std::string error = JobError(command, arguments); !error.empty())
        throw QemuError(command + ": " + error);
}

std::string Snapshots::JobError(const std::string& command, json arguments) {
    const std::string id = "job" + std::to_string(++jobs_);
    arguments["job-id"] = id;
    vm_.Qmp(command, arguments);
    const auto end = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
        for (const json& job : vm_.Qmp("query-jobs")) {
            if (job["id"] != id || job["status"] != "concluded") continue;
            const std::string error = job.value("error", "");
            vm_.Qmp("job-dismiss", {{"id", id}});
            return error;
        }
        if (std::chrono::steady_clock::now() >= end) return "it does not end";
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

}  // namespace vttm::qtest
