// SPDX-License-Identifier: Apache-2.0
// Snapshots of a machine (`savevm`, `loadvm`), in a qcow2 image that it has for them.
#pragma once

#include "tests/unit/qtest/vm.h"

namespace vttm::qtest {

class Snapshots {
public:
    /// Gives @vm the image. Throws QemuError.
    explicit Snapshots(Vm& vm);
    /// What is wrong with it; "": nothing. There is one snapshot; the next replaces it.
    std::string Save() { return JobError("snapshot-save", Tag()); }
    /// It runs behind that if it did before. If something is wrong it does not.
    std::string Load() { return JobError("snapshot-load", Tag()); }
    std::string Delete() { return JobError("snapshot-delete", {{"tag", "s"}, {"devices", {"disk0"}}}); }
    std::string image() const { return vm_.dir().File("disk"); }

private:
    static nlohmann::json Tag() { return {{"tag", "s"}, {"vmstate", "disk0"}, {"devices", {"disk0"}}}; }
    void Must(const std::string& command, const nlohmann::json& arguments);
    std::string JobError(const std::string& command, nlohmann::json arguments);

    Vm& vm_;
    int jobs_ = 0;
};

}  // namespace vttm::qtest
