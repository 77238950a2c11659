// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/session.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "host-backend/oracle/cpu_witness.h"

namespace vttm::cli {
namespace {

// One verify or fill request: small enough for live progress, large enough to hide the round trip.
constexpr std::uint64_t kPortionPages = (64u << 20) / oracle::kPageSize;

machine::UniqueFd open_swap(const machine::Machine& m) {
    int fd = ::open(m.swap_disk().c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0)
        throw machine::InfraError({.what = "cannot open the swap disk from the host",
                                   .where = m.swap_disk(),
                                   .todo = "is the file system still mounted and writable?",
                                   .excerpt = ""});
    return machine::UniqueFd(fd);
}

[[noreturn]] void bad_reply(const char* op, const std::string& why) {
    throw machine::ProtocolError({.what = fmt::format("the agent's reply to {} is wrong: {}", op, why),
                                  .where = "",
                                  .todo = "do agent and host come from one build? ./vttm build",
                                  .excerpt = ""});
}

void append_cpu_report(oracle::WitnessReport& into, const nlohmann::json& reply,
                       const oracle::Ledger& ledger) {
    try {
        oracle::append(into, oracle::cpu_report(reply, ledger));
    } catch (const oracle::CpuReportError& e) {
        bad_reply("buffers.verify", e.what());
    }
}

std::uint64_t bad_in(const nlohmann::json& verify_reply) {
    return verify_reply.at("pages").get<std::uint64_t>() -
           verify_reply.at("good").get<std::uint64_t>();
}

// What the device told the guest must be what it wrote into its log: else one of the two lies.
void must_agree(std::uint64_t told_bad, const oracle::WitnessReport& log) {
    if (told_bad != log.bad.size())
        bad_reply("buffers.verify", fmt::format("the guest heard of {} bad pages, the device's log "
                                                "has {}", told_bad, log.bad.size()));
}

}  // namespace

Session::Session(machine::Machine& machine, std::uint64_t key, Clock::time_point deadline)
    : machine_(machine),
      ledger_(key),
      log_(machine.witness_log()),
      swap_(open_swap(machine)),
      deadline_(deadline) {}

nlohmann::json Session::call(const char* op, nlohmann::json args) {
    return machine_.agent().call_until(deadline_, op, std::move(args));
}

void Session::set_backup(const std::string& mode, const std::string& restore) {
    auto reply = call("backup.set", {{"mode", mode}, {"restore", restore}});
    auto got = reply.value("mode", ""), got_restore = reply.value("restore", "");
    if (got != mode || got_restore != restore)
        throw machine::InfraError({.what = fmt::format("asked for ttm.backup={} ttm.restore={}, the kernel "
                                                       "reads back \"{}\" and \"{}\"", mode, restore,
                                                       got, got_restore),
                                   .where = "",
                                   .todo = "does the kernel carry the series? ./vttm doctor",
                                   .excerpt = ""});
}

void Session::create(std::span<const PlannedBuffer> buffers) {
    for (const PlannedBuffer& b : buffers) ledger_.add(booked(b));
    auto reply = call("buffers.create", create_request(buffers));
    if (reply.at("created").get<std::size_t>() != buffers.size())
        bad_reply("buffers.create", reply.dump());
}

void Session::free_all() {
    call("buffers.free", {{"ids", "all"}});
    ledger_.freed_all();
}

std::uint64_t Session::fill(const std::vector<PlannedBuffer>& buffers, std::uint32_t generation) {
    std::vector<std::uint32_t> by_device, by_cpu;
    std::uint64_t pages = 0;
    for (const PlannedBuffer& b : buffers) {
        (b.cpu_fill ? by_cpu : by_device).push_back(b.id);
        pages += b.bytes / oracle::kPageSize;
    }
    const std::string key = fmt::format("{:#x}", ledger_.key());
    std::uint64_t filled = 0;
    for (const auto& [ids, by] : {std::pair{&by_device, "device"}, std::pair{&by_cpu, "cpu"}}) {
        if (ids->empty()) continue;
        auto reply = call("buffers.fill",
                          {{"ids", *ids}, {"generation", generation}, {"key", key}, {"by", by}});
        filled += reply.at("pages").get<std::uint64_t>();
        for (std::uint32_t id : *ids) ledger_.filled(id, generation);
    }
    if (!by_cpu.empty()) {
        log_.poll();
        const std::uint64_t since = log_.serial();
        // What it finds bad is in its log, and so in verify()'s next report.
        const std::uint64_t told_bad =
            bad_in(call("buffers.verify", {{"ids", by_cpu},
                                           {"generation", generation},
                                           {"key", key},
                                           {"by", "device"}}));
        log_.poll();
        must_agree(told_bad, log_.verify_report(ledger_, since));
    }
    if (filled != pages)
        bad_reply("buffers.fill", fmt::format("{} pages filled, {} asked", filled, pages));
    return filled;
}

oracle::WitnessReport Session::verify(By by, const std::function<void(std::uint64_t)>& tick) {
    log_.poll();
    const std::uint64_t since = log_.serial();
    const std::string key = fmt::format("{:#x}", ledger_.key());
    oracle::WitnessReport report;
    report.who = by == By::kDevice ? oracle::Witness::kDevice : oracle::Witness::kCpu;
    report.present = true;
    std::uint64_t told_bad = 0, done = 0;

    for (const Portion& portion : verify_portions(ledger_, by, kPortionPages)) {
        auto reply = call("buffers.verify", {{"ids", portion.ids},
                                             {"generation", portion.generation},
                                             {"key", key},
                                             {"by", by == By::kDevice ? "device" : "cpu"}});
        if (by == By::kCpu)
            append_cpu_report(report, reply, ledger_);
        else
            told_bad += bad_in(reply);
        done += portion.pages;
        if (tick) tick(done);
    }
    if (by == By::kCpu) return report;
    // The log must be whole, or the device's findings are not.
    auto lost = machine_.device_property("witness-lost");
    if (lost != 0)
        throw machine::InfraError({.what = fmt::format("the device could not write {} records of its "
                                                       "witness log", lost.dump()),
                                   .where = machine_.qemu_log(),
                                   .todo = "is the disk full? see QEMU's log",
                                   .excerpt = ""});
    log_.poll();
    must_agree(told_bad, log_.verify_report(ledger_, since));
    // With what it found since the last report: fill() lets it look, too.
    report = log_.verify_report(ledger_, since, reported_);
    reported_ = log_.serial();
    return report;
}

oracle::Placement Session::placement() {
    // The driver lists buffer by buffer while the guest runs on: a slot that is freed and given to
    // another page in between shows up twice. One of the two claims is then bad, and look_again()
    // asks anew.
    try {
        return oracle::Placement::parse(call("placement"));
    } catch (const oracle::PlacementError& e) {
        bad_reply("placement", e.what());
    }
}

oracle::GuestRamView Session::ram_view() const {
    const machine::GuestRam& ram = machine_.ram();
    return {.bytes = ram.bytes(), .below_4g = ram.map().low_bytes(), .fd = ram.fd()};
}

oracle::HostView Session::view() const {
    return {.ram = ram_view(), .vram = machine_.vram().bytes(), .swap_fd = swap_.get()};
}

oracle::HostCheck Session::check_at_rest() {
    oracle::Placement claim = placement();
    log_.poll();
    oracle::HostCheck check;
    {
        machine::PauseGuard paused(machine_);
        check = oracle::check_host(ledger_, claim, view(), &log_);
    }
    look_again(check);
    return check;
}

void Session::look_again(oracle::HostCheck& check) {
    for (int round = 0; round < 3 && !check.report.bad.empty(); ++round) {
        oracle::Placement newer = placement();
        machine::PauseGuard paused(machine_);
        oracle::recheck_host(check, ledger_, newer, view());
    }
}

oracle::Counters Session::counters() { return parse_counters(call("counters")); }

}  // namespace vttm::cli
