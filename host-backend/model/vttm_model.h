/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vttm model: the GPU itself, without QEMU. C interface.
 *
 * An embedder (QEMU's PCI shim, a unit test, a fuzzer) creates a model, gives it VRAM and a set of
 * callbacks, forwards register accesses, and gets DMA requests and interrupts back.
 *
 * Threads. Register functions may be called from any thread, one or many at a time. Each engine has
 * a worker thread of its own; DMA and witness callbacks come from it, interrupts from it or from
 * within vttm_model_mmio_write() (of IRQ_ENABLE) and vttm_model_set_vram_target(). No lock of the
 * model is held during any callback. vttm_model_reset() and _destroy() wait for workers and writes:
 * callbacks must not call them, nor wait for who does (in QEMU: must not take the big lock).
 */
#ifndef VTTM_MODEL_H
#define VTTM_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/vttm_trace.h"
#include "protocol/vttm_witness.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VTTM_MODEL_API 5u

typedef struct vttm_model vttm_model;

struct vttm_model_ops {
	/*
	 * Maps guest memory at bus address @addr. *@len is bytes wanted on entry and what could be
	 * mapped contiguously on return (>= 1). Returns NULL if there is no RAM at @addr (MMIO and
	 * the device's own BARs count as none). Thread-safe. Each mapping is undone by dma_unmap with
	 * the same address, pointer, length (as returned) and direction.
	 *
	 * The pointer has the alignment of @addr up to 4 KiB, and a mapping ends at the wanted end or
	 * at a 4 KiB boundary of @addr; RAM that ends elsewhere is not usable to its last page.
	 */
	void *(*dma_map)(void *opaque, uint64_t addr, uint64_t *len, int is_write);
	void (*dma_unmap)(void *opaque, uint64_t addr, void *ptr, uint64_t len, int is_write);
	/* Fires MSI-X @vector (VTTM_MSIX_*). */
	void (*irq)(void *opaque, unsigned vector);
	/* Tells that VRAM [offset, offset + len) was written (dirty tracking). May be NULL. */
	void (*vram_dirty)(void *opaque, uint64_t offset, uint64_t len);
	/*
	 * The guest has given up VRAM [offset, offset + len): its content means nothing any more.
	 * May be NULL. Comes from within vttm_model_mmio_write().
	 */
	void (*vram_given_up)(void *opaque, uint64_t offset, uint64_t len);
	/*
	 * Appends @n records to the witness log. May be NULL. Thread-safe: both workers call it. The
	 * records of a packet are handed over before the writeback of the next FENCE.
	 */
	void (*witness)(void *opaque, const struct vttm_witness_record *rec, size_t n);
	/*
	 * One record of the trace. NULL: nothing is traced, and that costs nothing. Thread-safe: workers
	 * call it, and who accesses registers, pauses, resumes or resets.
	 */
	void (*trace)(void *opaque, const struct vttm_trace_record *rec);
	/*
	 * The host's fault plan has taken the device from the bus (@gone), or given it back: what the
	 * embedder shows of it besides registers (VRAM, configuration) is to follow. May be NULL. Comes
	 * from a worker or from within vttm_model_set_fault_plan().
	 */
	void (*removed)(void *opaque, int gone);
	/* Called at start and end of each worker thread. May be NULL. */
	void (*thread_enter)(void *opaque);
	void (*thread_exit)(void *opaque);
};

struct vttm_model_config {
	uint32_t api;          /* VTTM_MODEL_API of the embedder; another one is refused */
	uint32_t tlb_entries;  /* per engine, 1 .. 2^24; 0 = 2^20. A full TLB evicts */
	void *vram;            /* vram_size bytes, page aligned, lives until destroy */
	uint64_t vram_size;    /* multiple of 2 MiB, 2 MiB .. 64 GiB */
	uint64_t vram_visible; /* bytes of VRAM in BAR2, power of two, <= vram_size rounded up */
};

/*
 * Returns a new model in reset state with its workers running, or NULL with a message in @err
 * (always terminated when errlen > 0). @ops and @config are copied.
 */
vttm_model *vttm_model_create(const struct vttm_model_config *config,
			      const struct vttm_model_ops *ops, void *opaque, char *err,
			      size_t errlen);
void vttm_model_destroy(vttm_model *m);

/* Register access at byte offset @off of BAR0, @size 1, 2, 4 or 8 bytes (see vttm_regs.h). */
uint64_t vttm_model_mmio_read(vttm_model *m, uint64_t off, unsigned size);
void vttm_model_mmio_write(vttm_model *m, uint64_t off, uint64_t val, unsigned size);

/* Cold reset: stops the engines, forgets VMs and TLBs, clears registers. VRAM keeps its bytes. */
void vttm_model_reset(vttm_model *m);

/*
 * Stops engines between packets until resumed (VM stop, migration). Nests. Pausing waits for the
 * packet chunk under way; while paused no DMA, witness or interrupt callback comes.
 */
void vttm_model_pause(vttm_model *m);
void vttm_model_resume(vttm_model *m);

/*
 * The device as the guest knows it (registers, rings, packets under way, counters) as a string of
 * bytes, and back (docs/migration.md). VRAM's bytes are the embedder's to carry. Both wait for the
 * workers as vttm_model_pause() does; the embedder pauses the device before it saves VRAM, and until
 * it has loaded all, and accesses no register meanwhile.
 *
 * save: returns how many bytes it takes and writes them to @buf if @len is enough; at most
 * VTTM_MODEL_STATE_MAX. Or 0, with a message in @err: while a fault plan is in force, or an effect of
 * one is late.
 *
 * restore: 0; or -1 with a message, and then nothing has changed. The bytes need not be trusted. If
 * BAR2 has *@vram_visible bytes, a device that shows another number is refused (NULL: any will do). No
 * callback comes of it but those of engines that go on when they are resumed; interrupts that
 * were raised are the embedder's to carry. What vttm_model_removed(), a fault plan and
 * vttm_model_stats_json() tell: the first two are refused, the counters go on from those saved.
 */
#define VTTM_MODEL_STATE_MAX (1u << 20)
size_t vttm_model_save(vttm_model *m, void *buf, size_t len, char *err, size_t errlen);
int vttm_model_restore(vttm_model *m, const void *buf, size_t len, const uint64_t *vram_visible,
		       char *err, size_t errlen);

/*
 * Asks the guest to make do with the first @bytes of VRAM (VTTM_REG_VRAM_TARGET). 0, or -1 if that
 * is no multiple of 2 MiB up to vram_size. vttm_model_vram_limit() tells what the guest keeps.
 */
int vttm_model_set_vram_target(vttm_model *m, uint64_t bytes);
uint64_t vttm_model_vram_target(vttm_model *m);
uint64_t vttm_model_vram_limit(vttm_model *m);

/*
 * BAR2 shows @bytes of VRAM from now on, as VTTM_REG_VRAM_VISIBLE tells: the bus has resized it. The
 * same rule as for vram_visible of the configuration; 0, or -1 if it is broken. No reset of the
 * model changes it.
 */
int vttm_model_set_vram_visible(vttm_model *m, uint64_t bytes);

/*
 * Faults on demand: what shall go wrong from now on, as JSON (docs/faults.md); "" ends it. 0, or
 * -1 with a message in @err if the plan is wrong, and then the one in force stays. Waits for the
 * workers as vttm_model_pause() does. Nothing that a guest does calls this, nor changes what it set.
 * Not to be called by two threads at once.
 */
int vttm_model_set_fault_plan(vttm_model *m, const char *plan, char *err, size_t errlen);
/* Whether one is in force. A plan without a fault is none. */
int vttm_model_has_fault_plan(vttm_model *m);
/*
 * What the plan has done, as vttm_model_stats_json() does it:
 *   {"seed", "total", "rules": [{"kind", "events", "injected"}],
 *    "log": [{"number", "rule", "kind", "engine", "ring", "event", "address", "time_ns"}]}
 * since the plan was set; of the log the last 256 entries.
 */
size_t vttm_model_faults_json(vttm_model *m, char *buf, size_t len);
/* Whether the plan has taken the device from the bus. */
int vttm_model_removed(vttm_model *m);

/*
 * Writes a JSON object with counters since creation (a reset by the guest does not clear them):
 *   {"engines": {"copy": {"packets", "bytes", "busy_ns", "fences", "resets", "faults", "stale",
 *                         "tlb_hits", "tlb_misses", "root_walks", "walk_hits"}, "stamp": {...}},
 *    "mmu": {"hits", "misses", "evictions",      of the TLBs
 *            "walk_hits", "walk_misses",         of the page-walk caches, at each TLB miss
 *            "fills_4k", "fills_64k", "fills_2m", leaves that went into the TLBs
 *            "faults", "stale"},
 *    "registers": {"bad_access", "resets"},
 *    "injected",                               faults of all fault plans
 *    "time_ns"}                                device time, as VTTM_REG_TIMESTAMP
 * into @buf. Returns the length needed without the final NUL, as snprintf does.
 */
size_t vttm_model_stats_json(vttm_model *m, char *buf, size_t len);

#ifdef __cplusplus
}
#endif

#endif /* VTTM_MODEL_H */
