// SPDX-License-Identifier: Apache-2.0
// What the agent's operations work on.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "guest-driver/libvttm/agent/buffer_set.h"
#include "guest-driver/libvttm/agent/device_clock.h"
#include "guest-driver/libvttm/agent/event_trace.h"
#include "guest-driver/libvttm/agent/gpu_backend.h"
#include "guest-driver/libvttm/agent/hog_child.h"
#include "guest-driver/libvttm/agent/system_files.h"

namespace vttm::guest {

enum class Fault { kPanic, kHang, kOops, kAgentExit };

// What tests must not do to the machine they run on.
struct MachineActions {
    std::function<void()> power_off;
    std::function<void(Fault)> plant;
};

class Context {
public:
    using OpenGpu = std::function<std::unique_ptr<GpuBackend>()>;

    Context(SystemFiles files, OpenGpu open_gpu, std::string hog_program, MachineActions machine)
        : files(std::move(files)),
          hog(std::move(hog_program)),
          machine(std::move(machine)),
          open_gpu_(std::move(open_gpu)) {}

    // Opened on first use: the agent also serves a guest without vttm.ko (TTM's KUnit suite wants
    // no TTM driver loaded). Throws Error with ENODEV.
    GpuBackend& gpu() {
        if (gpu_ == nullptr) {
            gpu_ = open_gpu_();
        }
        return *gpu_;
    }
    BufferSet& buffers() {
        if (buffers_ == nullptr) {
            buffers_ = std::make_unique<BufferSet>(gpu());
        }
        return *buffers_;
    }
    // True while the device file is open; it pins the module.
    // Closes the device file if no buffer is left, so that the module may be unloaded.
    void release_idle_gpu() {
        if (buffers_ == nullptr || buffers_->size() == 0) {
            buffers_.reset();
            gpu_.reset();
        }
    }

    SystemFiles files;
    // While something is traced, and until that is read.
    std::unique_ptr<DeviceClock> device_clock;
    std::unique_ptr<EventTrace> trace;
    HogChild hog;
    MachineActions machine;

private:
    OpenGpu open_gpu_;
    std::unique_ptr<GpuBackend> gpu_;
    std::unique_ptr<BufferSet> buffers_;
};

}  // namespace vttm::guest
