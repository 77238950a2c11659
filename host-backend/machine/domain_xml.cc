// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/domain_xml.h"

#include <fmt/format.h>

#include <vector>

#include "host-backend/text/xml_escape.h"

namespace vttm::machine {
namespace {

// libvirt gives its own devices root ports from slot 1 on and the low slots of pcie.0; 0x10 stays
// free.
constexpr const char* kDeviceSlot = "0x10";

// A parameter with a control character is a mistake of the caller: refused.
std::string escaped(std::string_view text) { return text::xml_escape(text, text::Unfit::kRefuse); }

std::string swap_disk_xml(const DomainSpec& spec) {
    if (spec.swap_disk.empty()) return {};
    // cache=unsafe: the guest's flushes are not waited for. What the guest wrote is in the host's
    // page cache at once, so a reader of the file on this host sees it. Error policy stop: a full
    // host disk pauses the guest and reaches us as an event, instead of as I/O errors that the
    // guest interprets.
    return fmt::format(R"(    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe' discard='unmap' error_policy='stop'/>
      <source file='{}'/>
      <target dev='vda' bus='virtio'/>
      <serial>vttm-swap</serial>
    </disk>
)",
                       escaped(spec.swap_disk.string()));
}

// QEMU's TCG with one possible CPU makes of a locked instruction plain loads and stores, although its
// devices run in other threads. Linux's smp_mb() is a locked instruction, so a virtio driver can miss
// what it races for with the device: a kick or an interrupt is lost, and a swap disk stands still for
// ever. A second CPU, which is never plugged in, has QEMU emit real ones.
std::string vcpu_xml(const DomainSpec& spec) {
    if (spec.kvm || spec.vcpus > 1) return fmt::format("  <vcpu>{}</vcpu>\n", spec.vcpus);
    return "  <vcpu current='1'>2</vcpu>\n";
}

// What libvirt has no words for.
std::string qemu_arguments(const DomainSpec& spec) {
    std::vector<std::string> arguments;
    if (spec.low_ram_mib != 0) {
        arguments.push_back("-machine");
        arguments.push_back(fmt::format("max-ram-below-4g={}M", spec.low_ram_mib));
    }
    if (spec.iommu) {
        arguments.push_back("-device");
        arguments.push_back("intel-iommu");
    }
    if (!spec.vram_file.empty()) {
        arguments.push_back("-object");
        arguments.push_back(
            fmt::format("memory-backend-file,id=vram0,size={}M,mem-path={},share=on", spec.vram_mib,
                        qemu_option_escape(spec.vram_file.string())));
        std::string place = fmt::format("bus=pcie.0,addr={}", kDeviceSlot);
        if (spec.root_port) {
            arguments.push_back("-device");
            arguments.push_back(fmt::format("pcie-root-port,id={},chassis=200,{}", kRootPort, place));
            if (spec.native_hotplug) {
                arguments.push_back("-global");
                arguments.push_back("ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off");
            }
            place = fmt::format("bus={}", kRootPort);
        }
        arguments.push_back("-device");
        std::string device = fmt::format("vttm,id=vttm0,vram=vram0,witness-log={},{}",
                                         qemu_option_escape(spec.witness_log.string()), place);
        if (!spec.trace_log.empty())
            device += fmt::format(",trace-log={}", qemu_option_escape(spec.trace_log.string()));
        if (spec.vram_visible_mib != 0)
            device += fmt::format(",vram-visible={}M", spec.vram_visible_mib);
        arguments.push_back(std::move(device));
    }
    if (arguments.empty()) return {};
    std::string xml = "  <qemu:commandline>\n";
    for (const std::string& argument : arguments)
        xml += fmt::format("    <qemu:arg value='{}'/>\n", escaped(argument));
    return xml + "  </qemu:commandline>\n";
}

}  // namespace

std::string qemu_option_escape(std::string_view text) {
    std::string out;
    for (const char c : text) {
        out += c;
        if (c == ',') out += c;
    }
    return out;
}

std::string domain_xml(const DomainSpec& spec) {
    // A guest that resets or powers off ends the machine: nothing of a dead guest shall run again.
    return fmt::format(
        R"(<domain type='{type}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <memory unit='MiB'>{ram}</memory>
  <memoryBacking>
    <source type='memfd'/>
    <access mode='shared'/>
  </memoryBacking>
{vcpu}  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initramfs}</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features>
    <acpi/>
  </features>
{cpu}  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'>
      <source path='{console}' append='on'/>
      <target port='0'/>
    </serial>
    <channel type='unix'>
      <source mode='bind' path='{agent}'/>
      <target type='virtio' name='org.vttm.agent'/>
    </channel>
{disk}    <memballoon model='virtio'/>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
  </devices>
{arguments}</domain>
)",
        fmt::arg("type", spec.kvm ? "kvm" : "qemu"), fmt::arg("name", escaped(spec.name)),
        fmt::arg("ram", spec.ram_mib), fmt::arg("vcpu", vcpu_xml(spec)),
        fmt::arg("kernel", escaped(spec.kernel.string())),
        fmt::arg("initramfs", escaped(spec.initramfs.string())),
        fmt::arg("cmdline", escaped(spec.cmdline)),
        fmt::arg("cpu", spec.kvm ? "  <cpu mode='host-passthrough' migratable='off'/>\n" : ""),
        fmt::arg("emulator", escaped(spec.emulator.string())),
        fmt::arg("console", escaped(spec.console_log.string())),
        fmt::arg("agent", escaped(spec.agent_socket.string())),
        fmt::arg("disk", swap_disk_xml(spec)), fmt::arg("arguments", qemu_arguments(spec)));
}

}  // namespace vttm::machine
