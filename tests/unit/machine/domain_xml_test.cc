// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/domain_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host-backend/machine/machine.h"

namespace vttm::machine {
namespace {

using testing::HasSubstr;
using testing::Not;

DomainSpec sample() {
    return {.name = "vttm-1",
            .emulator = "/vm/qemu",
            .kernel = "/vm/bzImage",
            .initramfs = "/vm/initramfs",
            .cmdline = "console=ttyS0 a=b",
            .kvm = false,
            .ram_mib = 1536,
            .low_ram_mib = 0,
            .iommu = false,
            .vcpus = 1,
            .console_log = "/run/console.log",
            .agent_socket = "/run/agent.sock",
            .swap_disk = "/disk/swap.raw",
            .vram_file = "/shm/v.vram",
            .vram_mib = 256,
            .witness_log = "/disk/witness.log"};
}

TEST(DomainXml, HasWhatTheHostWitnessNeeds) {
    const std::string xml = domain_xml(sample());
    EXPECT_THAT(xml, HasSubstr("<domain type='qemu'"));
    EXPECT_THAT(xml, HasSubstr("<source type='memfd'/>"));
    EXPECT_THAT(xml, HasSubstr("<access mode='shared'/>"));
    EXPECT_THAT(xml, HasSubstr("<acpi/>"));
    EXPECT_THAT(xml, HasSubstr("type='raw'"));
    EXPECT_THAT(xml, HasSubstr("discard='unmap'"));
    EXPECT_THAT(xml, HasSubstr("<serial>vttm-swap</serial>"));
    EXPECT_THAT(xml, HasSubstr("<target type='virtio' name='org.vttm.agent'/>"));
    EXPECT_THAT(xml, HasSubstr("<on_reboot>destroy</on_reboot>"));
    EXPECT_THAT(xml, HasSubstr("memory-backend-file,id=vram0,size=256M,mem-path=/shm/v.vram,share=on"));
    EXPECT_THAT(xml, HasSubstr("vttm,id=vttm0,vram=vram0,witness-log=/disk/witness.log,bus=pcie.0,"));
    EXPECT_THAT(xml, HasSubstr("<memballoon model='virtio'/>"));
}

TEST(DomainXml, ADeviceThatIsPluggedHasAPortOfItsOwn) {
    DomainSpec spec = sample();
    EXPECT_THAT(domain_xml(spec), Not(HasSubstr("pcie-root-port,")));
    spec.root_port = true;
    EXPECT_THAT(domain_xml(spec), HasSubstr("pcie-root-port,id=vttm-port,chassis=200,bus=pcie.0,"));
    EXPECT_THAT(domain_xml(spec), HasSubstr("witness-log=/disk/witness.log,bus=vttm-port'"));
    EXPECT_THAT(domain_xml(spec), HasSubstr("acpi-pci-hotplug-with-bridge-support=off"));
    spec.native_hotplug = false;
    EXPECT_THAT(domain_xml(spec), Not(HasSubstr("acpi-pci-hotplug")));
}

// One possible CPU would have TCG drop the guest's memory barriers (Litmus, in vm_test).
TEST(DomainXml, OneCpuHasASecondSlotUnderTcgOnly) {
    DomainSpec spec = sample();
    EXPECT_THAT(domain_xml(spec), HasSubstr("<vcpu current='1'>2</vcpu>"));
    spec.vcpus = 3;
    EXPECT_THAT(domain_xml(spec), HasSubstr("<vcpu>3</vcpu>"));
    spec.vcpus = 1;
    spec.kvm = true;
    EXPECT_THAT(domain_xml(spec), HasSubstr("<vcpu>1</vcpu>"));
}

TEST(DomainXml, SmallVisibleVram) {
    DomainSpec spec = sample();
    EXPECT_THAT(domain_xml(spec), Not(HasSubstr("vram-visible")));
    spec.vram_visible_mib = 16;
    EXPECT_THAT(domain_xml(spec), HasSubstr(",addr=0x10,vram-visible=16M'/>"));
}

TEST(DomainXml, WithoutDeviceAndSwapDisk) {
    DomainSpec spec = sample();
    spec.vram_file.clear();
    spec.swap_disk.clear();
    spec.kvm = true;
    const std::string xml = domain_xml(spec);
    EXPECT_THAT(xml, Not(HasSubstr("qemu:commandline")));
    EXPECT_THAT(xml, Not(HasSubstr("<disk")));
    EXPECT_THAT(xml, HasSubstr("<domain type='kvm'"));
    EXPECT_THAT(xml, HasSubstr("host-passthrough"));
}

TEST(DomainXml, LessRamBelowTheHole) {
    DomainSpec spec = sample();
    EXPECT_THAT(domain_xml(spec), Not(HasSubstr("max-ram-below-4g")));
    spec.low_ram_mib = 640;
    EXPECT_THAT(domain_xml(spec), HasSubstr("<qemu:arg value='-machine'/>\n"
                                            "    <qemu:arg value='max-ram-below-4g=640M'/>"));
    spec.vram_file.clear();
    EXPECT_THAT(domain_xml(spec), HasSubstr("max-ram-below-4g=640M"));
}

TEST(DomainXml, Iommu) {
    DomainSpec spec = sample();
    EXPECT_THAT(domain_xml(spec), Not(HasSubstr("iommu")));
    spec.iommu = true;
    EXPECT_THAT(domain_xml(spec), HasSubstr("<qemu:arg value='-device'/>\n"
                                            "    <qemu:arg value='intel-iommu'/>"));
}

TEST(DomainXml, NamesWithSpecialCharactersAreEscaped) {
    DomainSpec spec = sample();
    spec.kernel = "/a & b/<k>'\"";
    spec.vram_file = "/shm/a,b'c";
    spec.cmdline = "x=\"<&>\"";
    const std::string xml = domain_xml(spec);
    EXPECT_THAT(xml, HasSubstr("<kernel>/a &amp; b/&lt;k&gt;&apos;&quot;</kernel>"));
    EXPECT_THAT(xml, HasSubstr("mem-path=/shm/a,,b&apos;c,share=on"));
    EXPECT_THAT(xml, HasSubstr("<cmdline>x=&quot;&lt;&amp;&gt;&quot;</cmdline>"));
}

TEST(DomainXml, ControlCharactersAreRefused) {
    DomainSpec spec = sample();
    spec.cmdline = "a\nb";
    EXPECT_THROW(domain_xml(spec), std::invalid_argument);
    spec = sample();
    spec.vram_file = "/shm/\x01";
    EXPECT_THROW(domain_xml(spec), std::invalid_argument);
}

TEST(KernelCommandLine, HasTheBaseListAndTheExtra) {
    MachineConfig config;
    config.cmdline_extra = "vttm.mode=kunit";
    config.variant = "nothp";
    const std::string line = kernel_command_line(config);
    for (const char* word : {"console=ttyS0", "panic=-1", "oops=panic", "init_on_free=1"})
        EXPECT_THAT(" " + line + " ", HasSubstr(" " + std::string(word) + " "));
    EXPECT_TRUE(line.ends_with(" vttm.mode=kunit")) << line;  // the last of a kind counts
    EXPECT_THAT(line, Not(HasSubstr("vttm.swap=none")));
    config.swap_mib = 0;
    EXPECT_THAT(kernel_command_line(config), HasSubstr("vttm.swap=none"));
}

TEST(KernelCommandLine, HasTheWordsOfTheVariant) {
    MachineConfig config;
    EXPECT_THAT(kernel_command_line(config), Not(HasSubstr("page_poison")));
    for (const char* variant : {"debug", "kasan"}) {
        config.variant = variant;
        EXPECT_THAT(kernel_command_line(config), HasSubstr(" page_poison=1")) << variant;
    }
    config.variant = "dbug";
    EXPECT_THROW(kernel_command_line(config), std::runtime_error);
}

}  // namespace
}  // namespace vttm::machine
