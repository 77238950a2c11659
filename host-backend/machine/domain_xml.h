// SPDX-License-Identifier: Apache-2.0
// The libvirt domain, built in one place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace vttm::machine {

struct DomainSpec {
    std::string name;
    std::filesystem::path emulator;
    std::filesystem::path kernel;
    std::filesystem::path initramfs;
    std::string cmdline;
    bool kvm = false;
    std::uint64_t ram_mib = 0;
    std::uint64_t low_ram_mib = 0;  // no more than this below 4 GiB; 0: as QEMU does
    bool iommu = false;
    bool root_port = false;  // the vttm device is behind kRootPort
    bool native_hotplug = true;  // by the port's own registers, as in a real slot; else by ACPI
    unsigned vcpus = 1;
    std::filesystem::path console_log;
    std::filesystem::path agent_socket;
    std::filesystem::path swap_disk;  // empty: none
    // The vttm device; empty vram_file: none.
    std::filesystem::path vram_file;
    std::uint64_t vram_mib = 0;
    std::uint64_t vram_visible_mib = 0;  // 0: all
    std::filesystem::path witness_log;
    std::filesystem::path trace_log;  // empty: none
};

// QEMU's name of the port, which is the bus of a device that is plugged there.
inline constexpr const char* kRootPort = "vttm-port";

// A value for a QEMU option list: commas are doubled.
std::string qemu_option_escape(std::string_view text);

// Throws std::invalid_argument for a parameter with characters that XML cannot hold.
std::string domain_xml(const DomainSpec& spec);

}  // namespace vttm::machine
