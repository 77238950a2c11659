/*
 * vttm virtual GPU, PCI shim: function level reset and power states
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * On PCI Express the function is reset through its PCI Express capability, on
 * a conventional bus through Advanced Features. D3hot is sleep: PCI core takes
 * the BARs away, and the GPU neither works nor interrupts, and its VRAM is off.
 * What wakes it is a reset, as No_Soft_Reset is clear. All of it runs under the
 * big lock, and is done when the write to configuration space is.
 */

#include "qemu/osdep.h"
#include "hw/pci/pcie.h"
#include "hw/vttm/trace-hw_vttm.h"
#include "vttm.h"

/* PCI_PM_PMC: version 1.2 of the specification; D0 and D3 only, no PME */
#define VTTM_PM_PMC 0x0003

static bool vttm_af_init(VttmState *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    int pos = pci_add_capability(pdev, PCI_CAP_ID_AF, 0, PCI_CAP_AF_SIZEOF,
                                 errp);

    if (pos < 0) {
        return false;
    }
    s->af_cap = pos;
    pdev->config[pos + PCI_AF_LENGTH] = PCI_CAP_AF_SIZEOF;
    pdev->config[pos + PCI_AF_CAP] = PCI_AF_CAP_TP | PCI_AF_CAP_FLR;
    /* Writable only so that vttm_config_write() sees it: it reads as 0 */
    pdev->wmask[pos + PCI_AF_CTRL] = PCI_AF_CTRL_FLR;
    return true;
}

bool vttm_power_init(VttmState *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    int pos;

    s->af_cap = 0;
    if (pci_bus_is_express(pci_get_bus(pdev))) {
        pos = pcie_endpoint_cap_init(pdev, 0);
        assert(pos > 0);
        pcie_cap_flr_init(pdev);
    } else {
        pdev->cap_present &= ~QEMU_PCI_CAP_EXPRESS;
        if (!vttm_af_init(s, errp)) {
            return false;
        }
    }

    pos = pci_pm_init(pdev, 0, errp);
    if (pos < 0) {
        return false;
    }
    pci_set_word(pdev->config + pos + PCI_PM_PMC, VTTM_PM_PMC);
    pci_set_word(pdev->wmask + pos + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    return true;
}

static unsigned vttm_power_state(PCIDevice *pdev)
{
    return pci_get_word(pdev->config + pdev->pm_cap + PCI_PM_CTRL) &
           PCI_PM_CTRL_STATE_MASK;
}

/* Behind this no engine moves, and interrupts under way are lost. */
static void vttm_sleep(VttmState *s)
{
    s->asleep = true;
    vttm_iommu_wait(s, s->model, vttm_model_pause);
    vttm_irq_forget(s);
    vttm_vram_free_begin(s);
}

/* At each reset, whatever made it: the function is in D0 behind it. */
void vttm_power_reset(VttmState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (s->asleep) {
        s->asleep = false;
        vttm_vram_free_end(s);
        vttm_model_resume(s->model);
    }
    /* Of what can be written, PCI core forgets this one */
    if (pci_is_express(pdev)) {
        pci_set_word(pdev->config + pdev->exp.exp_cap + PCI_EXP_DEVCTL2, 0);
    }
}

/* Behind a load of configuration space: sleeps if that says so. */
void vttm_power_load(VttmState *s)
{
    if (vttm_power_state(PCI_DEVICE(s)) && !s->asleep) {
        s->asleep = true;
        vttm_iommu_wait(s, s->model, vttm_model_pause);
    }
}

static void vttm_af_write_config(VttmState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint8_t *ctrl = pdev->config + s->af_cap + PCI_AF_CTRL;

    if (*ctrl & PCI_AF_CTRL_FLR) {
        *ctrl = 0;
        pci_device_reset(pdev);
    }
}

void vttm_config_write(PCIDevice *pdev, uint32_t addr, uint32_t val, int len)
{
    VttmState *s = VTTM(pdev);
    unsigned was = vttm_power_state(pdev);
    unsigned is;

    if (vttm_is_removed(s)) {
        return;
    }
    pci_default_write_config(pdev, addr, val, len);

    is = vttm_power_state(pdev);
    if (is != was) {
        trace_vttm_power_state(was, is);
        if (is) {
            vttm_sleep(s);
        } else {
            pci_device_reset(pdev);
        }
    }
    vttm_rebar_write_config(s, addr, len);
    if (s->af_cap) {
        vttm_af_write_config(s);
    } else {
        pcie_cap_flr_write_config(pdev, addr, val, len);
    }
}
