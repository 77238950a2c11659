// SPDX-License-Identifier: Apache-2.0
// The logs on the host's disk: how long they may become, and what is no place for one.
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "protocol/vttm_trace.h"
#include "protocol/vttm_witness.h"
#include "tests/unit/qtest/moving_vm.h"

namespace vttm::qtest {
namespace {

constexpr uint64_t kRoom = 10;  // records

class Log : public MovingVm {
protected:
    std::string path() const { return logs_.File("log"); }
    uint64_t FileSize() const { return std::filesystem::file_size(path()); }
    /// A device with that log, which may have @room records and a half.
    VmOptions With(const char* log, uint64_t header, uint64_t record, uint64_t room) const {
        return {.device_properties = std::string(",") + log + "=" + path() + "," + log +
                                     "-max=" + std::to_string(header + room * record + record / 2)};
    }
    VmOptions WithWitness(uint64_t room) const {
        return With("witness-log", sizeof(vttm_witness_header), sizeof(vttm_witness_record), room);
    }
    uint64_t Records() const { return (FileSize() - sizeof(vttm_witness_header)) / sizeof(vttm_witness_record); }
    /// Each makes a record.
    void Stamp(uint64_t times) {
        for (uint64_t i = 0; i < times; i++)
            ASSERT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampWrite(VTTM_SPACE_SYSTEM, kData, 1,
                                                              {.key = 1, .buffer = 1, .generation = ++generation_})}),
                      0u)
                << "the GPU goes on";
    }
    unsigned Said(const std::string& what) {
        const std::string log = vm->process().Log();
        unsigned n = 0;
        for (size_t at = log.find(what); at != log.npos; at = log.find(what, at + 1)) n++;
        return n;
    }

private:
    TempDir logs_;
    uint32_t generation_ = 0;
};

TEST_F(Log, EndsWhenItIsFull) {
    Start(WithWitness(kRoom));
    ASSERT_NO_FATAL_FAILURE(Stamp(kRoom));
    EXPECT_EQ(Records(), kRoom);
    EXPECT_EQ(vm->DeviceProperty("witness-lost"), 0);
    ASSERT_NO_FATAL_FAILURE(Stamp(4));
    EXPECT_EQ(FileSize(), sizeof(vttm_witness_header) + kRoom * sizeof(vttm_witness_record)) << "whole records";
    EXPECT_EQ(vm->DeviceProperty("witness-lost"), 4);
    EXPECT_EQ(Said("is full ('witness-log-max' is "), 1u) << vm->process().Log();
}

// Many records come in one batch: those that fit are written.
TEST_F(Log, ABatchIsCut) {
    Start(WithWitness(kRoom));
    std::vector<Packet> stamps;
    for (uint32_t i = 1; i <= kRoom + 4; i++)
        stamps.push_back(StampWrite(VTTM_SPACE_SYSTEM, kData, 1, {.key = 1, .buffer = i, .generation = 1}));
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_STAMP, stamps), 0u);
    EXPECT_EQ(Records(), kRoom);
    EXPECT_EQ(vm->DeviceProperty("witness-lost"), 4);
}

TEST_F(Log, ATraceEndsToo) {
    Start(With("trace-log", sizeof(vttm_trace_header), sizeof(vttm_trace_record), kRoom));
    ASSERT_NO_FATAL_FAILURE(Stamp(kRoom));
    EXPECT_EQ(FileSize(), sizeof(vttm_trace_header) + kRoom * sizeof(vttm_trace_record));
    EXPECT_GE(vm->DeviceProperty("trace-lost").get<uint64_t>(), 3 * kRoom) << "begin, end and fence of each";
    EXPECT_EQ(Said("is full ('trace-log-max' is "), 1u) << vm->process().Log();
}

TEST_F(Log, NoLimit) {
    Start({.device_properties = ",witness-log-max=0,witness-log=" + path()});
    ASSERT_NO_FATAL_FAILURE(Stamp(2 * kRoom));
    EXPECT_EQ(Records(), 2 * kRoom);
    EXPECT_EQ(vm->DeviceProperty("witness-lost"), 0);
}

// A log that goes on elsewhere counts what it has.
TEST_F(Log, TheLimitMovesAlong) {
    const VmOptions options = WithWitness(kRoom);
    Start(options);
    ASSERT_NO_FATAL_FAILURE(Stamp(kRoom - 2));
    Save();
    Load(options);
    vm->Qmp("cont");
    EXPECT_EQ(Records(), kRoom - 2);
    ASSERT_NO_FATAL_FAILURE(Stamp(5));
    EXPECT_EQ(Records(), kRoom);
    EXPECT_EQ(vm->DeviceProperty("witness-lost"), 3);
}

TEST_F(Log, AHeaderThatCannotBeWritten) {
    Start({.machine = "pc", .more = {"-object", "memory-backend-memfd,id=vram1,size=8M,share=on"}});
    vm->process().LimitFileSize(sizeof(vttm_witness_header) - 1);
    try {
        vm->Qmp("device_add", {{"driver", "vttm"}, {"vram", "vram1"}, {"witness-log", path()}});
        FAIL() << "it was taken";
    } catch (const QemuError& e) {
        EXPECT_NE(std::string(e.what()).find("cannot write the witness log '" + path() + "': File too large"),
                  std::string::npos)
            << e.what();
    }
}

// Workers write the logs. A pipe would let them wait for its reader, and a guest with them.
class NoPlace : public QtestBase, public ::testing::WithParamInterface<const char*> {
protected:
    void ExpectRefused(const std::string& path, const std::string& why) {
        TempDir dir;
        std::vector<std::string> args = Vm::BaseArguments({});
        args.insert(args.end(), {"-object", "memory-backend-memfd,id=vram0,size=4M,share=on", "-device",
                                 std::string("vttm,vram=vram0,") + GetParam() + "=" + path});
        QemuProcess qemu(args, dir.File("log"));
        EXPECT_EQ(qemu.Wait(20), 1) << path;
        EXPECT_NE(qemu.Log().find(why), std::string::npos) << qemu.Log();
    }
};

TEST_P(NoPlace, ForALog) {
    TempDir dir;
    const std::string pipe = dir.File("pipe");
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    ExpectRefused(pipe, "No such device or address");
    const int reader = open(pipe.c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(reader, 0);
    ExpectRefused(pipe, "'" + pipe + "' is no regular file");
    close(reader);
    ExpectRefused("/dev/null", "'/dev/null' is no regular file");
    ExpectRefused("/dev/full", "'/dev/full' is no regular file");
    ExpectRefused(dir.path(), "Is a directory");
}

INSTANTIATE_TEST_SUITE_P(Kinds, NoPlace, ::testing::Values("witness-log", "trace-log"),
                         [](const auto& info) { return std::string(info.param).substr(0, info.index ? 5 : 7); });

}  // namespace
}  // namespace vttm::qtest
