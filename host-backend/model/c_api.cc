// SPDX-License-Identifier: Apache-2.0
// The C interface. No exception leaves it.
#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include "host-backend/model/device.h"
#include "host-backend/model/vttm_model.h"

#define VTTM_EXPORT __attribute__((visibility("default")))

struct vttm_model {
    vttm_model(const vttm_model_config& config, const vttm_model_ops& ops, void* opaque)
        : device(config, ops, opaque) {}
    vttm::model::Device device;
};

namespace {

// Copies @text to @buf, cut if need be, always terminated.
void put(const std::string& text, char* buf, size_t len) {
    if (!buf || !len) return;
    const size_t n = std::min(text.size(), len - 1);
    std::memcpy(buf, text.data(), n);
    buf[n] = '\0';
}

template <typename Make>
size_t put_json(Make make, char* buf, size_t len) {
    try {
        const std::string text = make();
        put(text, buf, len);
        return text.size();
    } catch (const std::exception&) {
        put("", buf, len);
        return 0;
    }
}

}  // namespace

extern "C" {

VTTM_EXPORT vttm_model* vttm_model_create(const vttm_model_config* config,
                                          const vttm_model_ops* ops, void* opaque, char* err,
                                          size_t errlen) {
    try {
        const std::string wrong = vttm::model::Device::check_config(config, ops);
        put(wrong, err, errlen);
        if (!wrong.empty()) return nullptr;
        return std::make_unique<vttm_model>(*config, *ops, opaque).release();
    } catch (const std::exception& e) {
        put(std::string("cannot create the model: ") + e.what(), err, errlen);
        return nullptr;
    }
}

VTTM_EXPORT void vttm_model_destroy(vttm_model* m) { std::unique_ptr<vttm_model> gone(m); }

VTTM_EXPORT uint64_t vttm_model_mmio_read(vttm_model* m, uint64_t off, unsigned size) {
    return m->device.mmio_read(off, size);
}

VTTM_EXPORT void vttm_model_mmio_write(vttm_model* m, uint64_t off, uint64_t val, unsigned size) {
    m->device.mmio_write(off, val, size);
}

VTTM_EXPORT void vttm_model_reset(vttm_model* m) { m->device.reset(); }
VTTM_EXPORT void vttm_model_pause(vttm_model* m) { m->device.pause(); }
VTTM_EXPORT void vttm_model_resume(vttm_model* m) { m->device.resume(); }

VTTM_EXPORT size_t vttm_model_save(vttm_model* m, void* buf, size_t len, char* err,
                                   size_t errlen) {
    try {
        const vttm::model::StateBytes bytes = m->device.save();
        put("", err, errlen);
        if (buf && len >= bytes.size()) std::memcpy(buf, bytes.data(), bytes.size());
        return bytes.size();
    } catch (const std::exception& e) {
        put(e.what(), err, errlen);
        return 0;
    }
}
VTTM_EXPORT int vttm_model_restore(vttm_model* m, const void* buf, size_t len,
                                   const uint64_t* vram_visible, char* err, size_t errlen) {
    try {
        m->device.restore({static_cast<const uint8_t*>(buf), len}, vram_visible);
        put("", err, errlen);
        return 0;
    } catch (const std::exception& e) {
        put(e.what(), err, errlen);
        return -1;
    }
}

VTTM_EXPORT int vttm_model_set_vram_target(vttm_model* m, uint64_t bytes) {
    return m->device.vram_balloon().set_target(bytes) ? 0 : -1;
}
VTTM_EXPORT int vttm_model_set_vram_visible(vttm_model* m, uint64_t bytes) {
    return m->device.set_vram_visible(bytes) ? 0 : -1;
}
VTTM_EXPORT uint64_t vttm_model_vram_target(vttm_model* m) {
    return m->device.vram_balloon().target();
}
VTTM_EXPORT uint64_t vttm_model_vram_limit(vttm_model* m) {
    return m->device.vram_balloon().limit();
}

VTTM_EXPORT int vttm_model_set_fault_plan(vttm_model* m, const char* plan, char* err,
                                          size_t errlen) {
    try {
        m->device.set_fault_plan(plan);
        put("", err, errlen);
        return 0;
    } catch (const std::exception& e) {
        put(e.what(), err, errlen);
        return -1;
    }
}
VTTM_EXPORT int vttm_model_has_fault_plan(vttm_model* m) { return m->device.has_fault_plan(); }
VTTM_EXPORT size_t vttm_model_faults_json(vttm_model* m, char* buf, size_t len) {
    return put_json([m] { return m->device.faults_json(); }, buf, len);
}
VTTM_EXPORT int vttm_model_removed(vttm_model* m) { return m->device.removed(); }

VTTM_EXPORT size_t vttm_model_stats_json(vttm_model* m, char* buf, size_t len) {
    return put_json([m] { return m->device.stats_json(); }, buf, len);
}

}  // extern "C"
