/*
 * QTest testcase for the vttm virtual GPU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For QEMU's tests/qtest/. What the device is: docs/specs/vttm.rst.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "libqos/pci.h"
#include "libqos/pci-pc.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "hw/pci/pci_regs.h"
#include "protocol/vttm_packets.h"
#include "protocol/vttm_regs.h"

#define VRAM_SIZE (8 * 1024 * 1024)
#define SLOT QPCI_DEVFN(4, 0)

/* In guest RAM */
#define RING 0x100000
#define RING_SIZE 0x1000
#define FENCE 0x180000
#define DATA 0x200000
#define MESSAGE 0x190000

#define LO(x) ((uint32_t)(x))
#define HI(x) ((uint32_t)((uint64_t)(x) >> 32))

typedef struct VttmTest {
    QTestState *qts;
    QPCIBus *bus;
    QPCIDevice *dev;
    QPCIBar regs;
    QPCIBar vram;
    uint32_t tail;
    uint64_t seq;
} VttmTest;

static void vttm_map(VttmTest *t)
{
    t->dev = qpci_device_find(t->bus, SLOT);
    g_assert_nonnull(t->dev);
    qpci_device_enable(t->dev);
    t->regs = qpci_iomap(t->dev, VTTM_BAR_REGS, NULL);
    t->vram = qpci_iomap(t->dev, VTTM_BAR_VRAM, NULL);
}

static void vttm_start(VttmTest *t, const char *more)
{
    memset(t, 0, sizeof(*t));
    t->qts = qtest_initf("-machine q35 -m 64 -nic none "
                         "-object memory-backend-memfd,"
                         "id=vram0,size=%d,share=on -device vttm,id=vttm0,"
                         "vram=vram0,addr=04.0 %s", VRAM_SIZE, more);
    t->bus = qpci_new_pc(t->qts, NULL);
    vttm_map(t);
}

static void vttm_end(VttmTest *t)
{
    g_free(t->dev);
    qpci_free_pc(t->bus);
    qtest_quit(t->qts);
}

static uint32_t vttm_read(VttmTest *t, uint64_t reg)
{
    return qpci_io_readl(t->dev, t->regs, reg);
}

static void vttm_write(VttmTest *t, uint64_t reg, uint32_t value)
{
    qpci_io_writel(t->dev, t->regs, reg, value);
}

static void vttm_enable(VttmTest *t)
{
    uint64_t engine = VTTM_ENGINE_BASE(VTTM_ENGINE_COPY);

    t->tail = 0;
    vttm_write(t, engine + VTTM_ENG_RING_BASE_LO, RING);
    vttm_write(t, engine + VTTM_ENG_RING_BASE_HI, 0);
    vttm_write(t, engine + VTTM_ENG_RING_SIZE, RING_SIZE);
    vttm_write(t, engine + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
}

static void vttm_put(VttmTest *t, const uint32_t *words, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++) {
        qtest_writel(t->qts, RING + t->tail, words[i]);
        t->tail = (t->tail + 4) % RING_SIZE;
    }
}

/* Runs a packet, and a FENCE; returns what the fence says of the job */
static uint32_t vttm_run(VttmTest *t, const uint32_t *packet, size_t n)
{
    const uint32_t fence[] = {
        VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5), FENCE, 0,
        LO(t->seq + 1), HI(t->seq + 1)
    };
    gint64 end = g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;

    t->seq++;
    vttm_put(t, packet, n);
    vttm_put(t, fence, G_N_ELEMENTS(fence));
    vttm_write(t, VTTM_ENGINE_BASE(VTTM_ENGINE_COPY) + VTTM_ENG_TAIL, t->tail);
    while (qtest_readq(t->qts, FENCE) != t->seq) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
    return qtest_readl(t->qts, FENCE +
                       offsetof(struct vttm_fence_value, status));
}

static uint32_t vttm_fill(VttmTest *t, uint32_t space, uint64_t addr,
                          uint64_t len, uint32_t value)
{
    const uint32_t fill[] = {
        VTTM_PKT_HDR(VTTM_OP_FILL, VTTM_PKT_DST(space), 6), LO(addr), HI(addr),
        LO(len), HI(len), value
    };

    return vttm_run(t, fill, G_N_ELEMENTS(fill));
}

static void test_identity(void)
{
    VttmTest t;

    vttm_start(&t, "");
    g_assert_cmphex(qpci_config_readw(t.dev, PCI_VENDOR_ID), ==,
                    VTTM_PCI_VENDOR_ID);
    g_assert_cmphex(qpci_config_readw(t.dev, PCI_DEVICE_ID), ==,
                    VTTM_PCI_DEVICE_ID);
    g_assert_cmphex(vttm_read(&t, VTTM_REG_MAGIC), ==, VTTM_MAGIC);
    g_assert_cmpuint(vttm_read(&t, VTTM_REG_ABI) >> 16, ==, VTTM_ABI_MAJOR);
    g_assert_cmpuint(vttm_read(&t, VTTM_REG_VRAM_SIZE_LO), ==, VRAM_SIZE);
    g_assert_cmpuint(vttm_read(&t, VTTM_REG_BAD_ACCESS), ==, 0);
    qpci_io_writeb(t.dev, t.regs, 1, 0);
    g_assert_cmpuint(vttm_read(&t, VTTM_REG_BAD_ACCESS), ==, 1);
    vttm_end(&t);
}

static void test_fill_and_copy(void)
{
    const uint32_t copy[] = {
        VTTM_PKT_HDR(VTTM_OP_COPY, VTTM_PKT_DST(VTTM_SPACE_SYSTEM) |
                     VTTM_PKT_SRC(VTTM_SPACE_VRAM), 7),
        DATA, 0, VRAM_SIZE - 4096, 0, 4096, 0
    };
    VttmTest t;

    vttm_start(&t, "");
    vttm_enable(&t);
    g_assert_cmpuint(vttm_fill(&t, VTTM_SPACE_VRAM, VRAM_SIZE - 4096, 4096,
                               0x5a5a5a5a), ==, 0);
    g_assert_cmphex(qpci_io_readl(t.dev, t.vram, VRAM_SIZE - 4), ==,
                    0x5a5a5a5a);
    g_assert_cmpuint(vttm_run(&t, copy, G_N_ELEMENTS(copy)), ==, 0);
    g_assert_cmphex(qtest_readl(t.qts, DATA + 4092), ==, 0x5a5a5a5a);
    g_assert_cmphex(qtest_readl(t.qts, DATA + 4096), ==, 0);
    vttm_end(&t);
}

/* What a guest must not reach: beyond VRAM, and the device's own registers */
static void test_faults(void)
{
    VttmTest t;

    vttm_start(&t, "");
    vttm_enable(&t);
    g_assert_cmpuint(vttm_fill(&t, VTTM_SPACE_VRAM, VRAM_SIZE, 4, 1), ==,
                     VTTM_FAULT_VRAM_RANGE);
    g_assert_cmpuint(vttm_read(&t, VTTM_REG_FAULT_COUNT), ==, 1);
    vttm_write(&t, VTTM_REG_FAULT_STATUS, VTTM_FAULT_STATUS_VALID);
    g_assert_cmpuint(vttm_fill(&t, VTTM_SPACE_SYSTEM, t.regs.addr, 4, 1), ==,
                     VTTM_FAULT_BUS);
    g_assert_cmpuint(vttm_fill(&t, VTTM_SPACE_SYSTEM, DATA, 4, 7), ==, 0);
    g_assert_cmphex(qtest_readl(t.qts, DATA), ==, 7);
    vttm_end(&t);
}

static void test_msix(void)
{
    unsigned vector = VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY);
    VttmTest t;
    uint64_t entry;

    vttm_start(&t, "");
    qpci_msix_enable(t.dev);
    entry = t.dev->msix_table_off + vector * PCI_MSIX_ENTRY_SIZE;
    qpci_io_writel(t.dev, t.dev->msix_table_bar,
                   entry + PCI_MSIX_ENTRY_LOWER_ADDR, MESSAGE);
    qpci_io_writel(t.dev, t.dev->msix_table_bar,
                   entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
    qpci_io_writel(t.dev, t.dev->msix_table_bar,
                   entry + PCI_MSIX_ENTRY_DATA, 0x1234);
    qpci_io_writel(t.dev, t.dev->msix_table_bar,
                   entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    vttm_write(&t, VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(VTTM_ENGINE_COPY));
    vttm_enable(&t);
    g_assert_cmpuint(vttm_fill(&t, VTTM_SPACE_VRAM, 0, 4096, 1), ==, 0);
    while (qtest_readl(t.qts, MESSAGE) != 0x1234) {
        g_usleep(1000); /* the test's timeout ends it */
    }
    qpci_msix_disable(t.dev);
    vttm_end(&t);
}

static void test_reset(void)
{
    uint8_t express;
    VttmTest t;

    vttm_start(&t, "");
    vttm_enable(&t);
    g_assert_cmpuint(vttm_fill(&t, VTTM_SPACE_VRAM, 0, 4096, 0x11), ==, 0);
    express = qpci_find_capability(t.dev, PCI_CAP_ID_EXP, 0);
    g_assert_cmpuint(express, !=, 0);
    qpci_config_writew(t.dev, express + PCI_EXP_DEVCTL,
                       PCI_EXP_DEVCTL_BCR_FLR);
    g_assert_cmpuint(qpci_config_readw(t.dev, PCI_COMMAND) &
                     (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER), ==, 0);
    g_free(t.dev);
    vttm_map(&t);
    g_assert_cmpuint(vttm_read(&t, VTTM_ENGINE_BASE(VTTM_ENGINE_COPY) +
                               VTTM_ENG_CTRL), ==, 0);
    g_assert_cmphex(qpci_io_readl(t.dev, t.vram, 0), ==, 0x11);
    vttm_end(&t);
}

static void test_stats(void)
{
    VttmTest t;
    QDict *response;
    QDict *stats;
    QDict *copy;

    vttm_start(&t, "");
    vttm_enable(&t);
    g_assert_cmpuint(vttm_fill(&t, VTTM_SPACE_VRAM, 0, 4096, 1), ==, 0);
    response = qtest_qmp(t.qts, "{ 'execute': 'qom-get', 'arguments': {"
                         " 'path': '/machine/peripheral/vttm0',"
                         " 'property': 'stats' } }");
    stats = qobject_to(QDict, qobject_from_json(
                           qdict_get_str(response, "return"), &error_abort));
    copy = qdict_get_qdict(qdict_get_qdict(stats, "engines"), "copy");
    g_assert_cmpint(qdict_get_int(copy, "bytes"), ==, 4096);
    g_assert_cmpint(qdict_get_int(copy, "fences"), ==, 1);
    qobject_unref(stats);
    qobject_unref(response);
    vttm_end(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/vttm/identity", test_identity);
    qtest_add_func("/vttm/fill-and-copy", test_fill_and_copy);
    qtest_add_func("/vttm/faults", test_faults);
    qtest_add_func("/vttm/msix", test_msix);
    qtest_add_func("/vttm/reset", test_reset);
    qtest_add_func("/vttm/stats", test_stats);
    return g_test_run();
}
