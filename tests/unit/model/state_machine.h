// SPDX-License-Identifier: Apache-2.0
// A machine that moves to another device in the middle of what it does: saved, thrown away, loaded
// into a new one over the same memory.
#pragma once

#include <string>
#include <vector>

#include "host-backend/model/state.h"
#include "tests/unit/model/fault_machine.h"

namespace vttm::model::test {

class StateMachine : public FaultMachine {
protected:
    StateMachine() { wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY); }

    StateBytes save() {
        char err[256] = "?";
        StateBytes bytes(VTTM_MODEL_STATE_MAX);
        bytes.resize(vttm_model_save(model_.get(), bytes.data(), bytes.size(), err, sizeof(err)));
        EXPECT_FALSE(bytes.empty()) << err;
        return bytes;
    }
    // Why it cannot be saved.
    std::string refusal() {
        char err[256] = "";
        EXPECT_EQ(vttm_model_save(model_.get(), nullptr, 0, err, sizeof(err)), 0u);
        return err;
    }
    // What is wrong with @bytes.
    std::string restore(const StateBytes& bytes, const uint64_t* vram_visible = nullptr) {
        char err[512] = "?";
        const int ret = vttm_model_restore(model_.get(), bytes.data(), bytes.size(), vram_visible,
                                           err, sizeof(err));
        EXPECT_EQ(ret, *err ? -1 : 0) << err;
        return err;
    }
    static StateBytes without_time(StateBytes bytes) {
        std::fill_n(bytes.begin() + kStateTime, 8, uint8_t{0});
        bytes.resize(bytes.size() - kStateChecksum);
        return bytes;
    }

    // What the guest reads everywhere. Reads of holes count themselves, on both sides the same.
    std::vector<uint32_t> registers() {
        std::vector<uint32_t> all;
        for (uint32_t off = 0; off < VTTM_REGS_SIZE; off += 4)
            if (off != VTTM_REG_TIMESTAMP_LO && off != VTTM_REG_TIMESTAMP_HI)
                all.push_back(rd(off));
        return all;
    }
    void pause() { vttm_model_pause(model_.get()); }
    void resume() { vttm_model_resume(model_.get()); }
    // The statistics but for what is of the moment of the look, which is their end.
    std::string counts() {
        const std::string all = stats();
        return all.substr(0, all.find("\"at_work\""));
    }

    // The machine stops, and goes on elsewhere.
    void migrate() {
        pause();
        const uint64_t before = rd64(VTTM_REG_TIMESTAMP_LO);
        const std::string stats_before = counts();
        const StateBytes bytes = save();
        const auto registers_before = registers();
        model_.reset();
        create(0);
        pause();
        ASSERT_EQ(restore(bytes), "");
        EXPECT_EQ(without_time(save()), without_time(bytes));
        EXPECT_EQ(counts(), stats_before);
        EXPECT_EQ(registers(), registers_before);
        EXPECT_GE(rd64(VTTM_REG_TIMESTAMP_LO), before);
        resume();
    }

    bool wait_status(unsigned e, uint32_t bit) {
        return wait_for([&] { return eng(e, VTTM_ENG_STATUS) & bit; });
    }
    uint64_t last_fence(unsigned e) { return rd64(VTTM_ENGINE_BASE(e) + VTTM_ENG_LAST_FENCE_LO); }
    uint64_t kick(unsigned e) {
        put_fence(e, ++seq_, false);
        ring(e);
        return seq_;
    }
    void answer(unsigned e, uint32_t how) {
        eng_wr(e, VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(eng(e, VTTM_ENG_STALL), how));
    }
};

}  // namespace vttm::model::test
