// SPDX-License-Identifier: Apache-2.0
// A machine that is migrated into a file, and goes on from it in another QEMU.
#pragma once

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {

class MovingVm : public QtestFixture {
protected:
    std::string file() const { return moves_.File("state"); }
    /// Starts the migration of the machine into file().
    void BeginSave();
    /// Waits for its end; the status, with the reason if there is one.
    std::string WaitSaved();
    nlohmann::json Progress() { return vm->Qmp("query-migrate"); }
    /// BeginSave() and WaitSaved(), which must be well.
    void Save();
    /// The machine of file() in a new QEMU, not running yet, in place of the old one.
    void Load(VmOptions options = {});
    /// What QEMU says when it cannot load file().
    std::string Refusal(VmOptions options = {});

    /// What the guest reads in all registers but the time.
    std::vector<uint32_t> Registers();
    std::vector<uint8_t> FileBytes() const;
    void SetFileBytes(const std::vector<uint8_t>& bytes) const;
    /// Where the model's bytes begin in file(), and how many they are.
    std::pair<size_t, size_t> ModelBytes() const;

private:
    TempDir moves_;
};

}  // namespace vttm::qtest
