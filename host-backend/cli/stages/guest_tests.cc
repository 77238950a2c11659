// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/oracle/witness_log.h"

namespace vttm::cli {
namespace {

using report::TestStatus;
using std::chrono::milliseconds;

constexpr const char* kResultFile = "/tmp/guest-tests.json";

std::string tail(const std::string& text) {
    return text.size() > 8192 ? text.substr(text.size() - 8192) : text;
}

// Those of the program's tests that @filter names.
report::TestResults run_program(const StageContext& context, machine::Machine& machine,
                                const std::string& filter) {
    GuestRun tests = guest_exec(machine,
                                {"/bin/vttm-guest-tests", "--gtest_filter=" + filter,
                                 std::string("--gtest_output=json:") + kResultFile},
                                context.variant.scaled(milliseconds(900'000)));
    GuestRun file = guest_exec(machine, {"/bin/cat", kResultFile}, context.variant.scaled(milliseconds(60'000)));
    report::TestResults results;
    try {
        results = report::parse_gtest_json(file.output);
    } catch (const report::ParseError& e) {
        results.cases.push_back(make_case("guest", "program", TestStatus::kFailed,
                                          fmt::format("exit {}, no result file ({}); last output:\n{}",
                                                      tests.status, e.what(), tail(tests.output))));
    }
    if (tests.status != 0 && results.counts().failed == 0)
        results.cases.push_back(make_case("guest", "program", TestStatus::kFailed,
                                          fmt::format("exit {}; last output:\n{}", tests.status,
                                                      tail(tests.output))));
    return results;
}

// Where the console stands when all is there that the guest's kernel has said so far: a line of our own is waited for.
std::size_t mark_console(const StageContext& context, machine::Machine& machine, const std::string& mark) {
    guest_exec(machine, {"/bin/busybox", "sh", "-c", "echo '" + mark + "' >/dev/kmsg"},
               context.variant.scaled(milliseconds(60'000)));
    for (int i = 0; i < 100; ++i) {
        if (const std::size_t at = console_of(machine).find(mark); at != std::string::npos) return at;
        machine.agent().idle(milliseconds(100));
    }
    throw std::runtime_error("the console does not show what was written to /dev/kmsg");
}

// The addresses that the guest's IOMMU driver says were used and are nobody's, by page.
std::set<std::uint64_t> faults_of(const std::string& console) {
    static const std::regex kFault(R"(DMAR: .*fault addr (?:0x)?([0-9a-f]+))");
    std::set<std::uint64_t> pages;
    for (std::sregex_iterator it(console.begin(), console.end(), kFault), end; it != end; ++it)
        pages.insert(std::stoull((*it)[1], nullptr, 16) & ~std::uint64_t{4095});
    return pages;
}

// Why not: each address that the IOMMU reports must be one that the device used by a stale
// translation, and there must be one at least.
std::string must_report_stale_uses(const std::string& console,
                                   const std::filesystem::path& witness) {
    oracle::WitnessLog log(witness);
    log.poll();
    std::set<std::uint64_t> stale;
    for (const auto& record : log.stale_uses())
        for (std::uint64_t i = 0; i < record.npages; ++i)
            stale.insert((record.phys & ~std::uint64_t{4095}) + i * 4096);
    const std::set<std::uint64_t> reported = faults_of(console);
    std::string why;
    if (reported.empty()) why = "the guest's kernel has heard nothing from its IOMMU\n";
    for (const std::uint64_t page : reported)
        if (!stale.contains(page))
            why += fmt::format("the IOMMU reports {:#x}, which was no use by mistake\n", page);
    if (!why.empty()) why += fmt::format("used by mistake: {:#x}\n", fmt::join(stale, ", "));
    return why;
}

// Behind an IOMMU; what the device did there wrong by order, the host must have heard of, too.
void run_iommu_tests(const StageContext& context, report::TestResults& into) {
    machine::MachineConfig config = stage_machine(context);
    config.vram_mib = 64;
    config.iommu = true;
    machine::Machine machine(config);
    context.progress.phase("test guest: boot behind an IOMMU");
    machine.start();
    // What the plants have the device do wrong; and then what has to do nothing wrong there.
    const std::size_t before = mark_console(context, machine, "vttm-test: plants");
    into.append(run_program(context, machine, "IommuTest.*"), "iommu");
    const nlohmann::json mmu = machine.stats().at("mmu");
    const bool told = mmu.at("stale") > 0 && mmu.at("faults") > 0;
    into.cases.push_back(make_case("guest_iommu", "the_host_hears_of_stale_uses",
                                   told ? TestStatus::kPassed : TestStatus::kFailed,
                                   told ? "" : "the device counts " + mmu.dump()));
    const std::size_t after = mark_console(context, machine, "vttm-test: no plants");
    const std::string planted = console_of(machine).substr(before, after - before);
    std::string why = must_report_stale_uses(planted, machine.witness_log());
    into.cases.push_back(make_case("guest_iommu", "the_iommu_reports_stale_uses",
                                   why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
    into.append(run_program(context, machine, "PlugTest.*:PowerTest.*"), "iommu");
    mark_console(context, machine, "vttm-test: end");
    const std::string rest = console_of(machine).substr(after);
    why = faults_of(rest).empty() ? "" : "the IOMMU reports what nobody planted:\n" + tail(rest);
    into.cases.push_back(make_case("guest_iommu", "the_iommu_reports_nothing_else",
                                   why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
    check_guest(context, machine);
    machine.stop(milliseconds(5000));
}

// With all DMA through bounce buffers, but for memory that was asked for as shared.
void run_bounce_tests(const StageContext& context, report::TestResults& into) {
    machine::MachineConfig config = stage_machine(context);
    config.vram_mib = 64;
    config.cmdline_extra += " swiotlb=force";
    machine::Machine machine(config);
    context.progress.phase("test guest: boot with bounce buffers");
    machine.start();
    into.append(run_program(context, machine,
                            "Bounce*Test.*:ReuseTest.*:*ShapeTest.*:EngineTest.*:VmTest.*:LargeLeafTest.*:"
                            "MemoryTest.MoreVram*:PlugTest.*:PowerTest.*:ConcurrencyTest.*"),
                "bounce");
    check_guest(context, machine);
    machine.stop(milliseconds(5000));
}

// For tests that fill memory.
machine::MachineConfig roomy_machine(const StageContext& context) {
    machine::MachineConfig config = stage_machine(context);
    config.vram_mib = 64;  // small, so that the eviction tests need few buffers
    // KASAN's shadow is an eighth of RAM, and what it keeps in quarantine comes on top: without more
    // RAM the test that overcommits GTT (3/4 of RAM) has none left to do it in.
    if (context.variant.kasan) config.ram_mib *= 2;
    return config;
}

// What backups do on two CPUs at once: the kernel's own races need a second one.
void run_two_cpu_tests(const StageContext& context, report::TestResults& into) {
    machine::MachineConfig config = roomy_machine(context);
    config.vcpus = 2;
    machine::Machine machine(config);
    context.progress.phase("test guest: boot with two CPUs");
    machine.start();
    const std::string cpus = guest_exec(machine, {"/bin/busybox", "nproc"}, context.variant.scaled(milliseconds(60'000))).output;
    into.cases.push_back(make_case("guest_two_cpus", "there_are_two",
                                   cpus == "2\n" ? TestStatus::kPassed : TestStatus::kFailed,
                                   cpus == "2\n" ? "" : "nproc says: " + cpus));
    into.append(run_program(context, machine,
                            "StormTest.*:*EdgeTest*:*BackupTest*:*MemcgTest*:*OwnerTest*:*FullSwapTest*:"
                            "ConcurrencyTest.*:*EngineTest*:PlugTest.*"),
                "two_cpus");
    check_guest(context, machine);
    machine.stop(milliseconds(5000));
}

}  // namespace

void run_guest_tests(const StageContext& context, report::TestResults& into) {
    machine::Machine machine(roomy_machine(context));
    context.progress.phase("test guest: boot");
    machine.start();
    context.progress.phase("test guest: GoogleTest in the guest");
    into.append(run_program(
        context, machine,
        "-SleepTest.*:HostUnplugTest.*:HostBalloonTest.*:HostMigrationTest.*:HostRingFaultTest.*:HostVramLossTest.*:"
        "HostSlowStopTest.*:IommuTest.*:Bounce*Test.*"));
    check_guest(context, machine);
    machine.stop(milliseconds(5000));
    run_iommu_tests(context, into);
    run_bounce_tests(context, into);
    run_two_cpu_tests(context, into);
}

}  // namespace vttm::cli
