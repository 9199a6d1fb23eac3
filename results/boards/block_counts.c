/* A plugin for QEMU's system mode that counts how often an emulated board runs each block of code.

   A block is a run of instructions that QEMU translates at once; a branch ends it. The program under test calls gs_now
   before and after each turn. After each turn, the plugin writes the line `turn`, and a line for each block that ran:
   its first address, its number of instructions, how often it ran, and how often another block than the one behind it
   ran next (its branch was taken). QEMU's functions (plugin interface, version 1) are declared here after its manual,
   because Debian ships no header. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned cpu, void *data),
                                                 enum qemu_plugin_cb_flags flags, void *data);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                                  void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

typedef struct block {
  uint64_t start, end, runs, taken;
  size_t instructions;
  struct block *next;
} block;
static block *blocks, *clock_block, *last;
static unsigned readings; /* of the clock */
static FILE *file;

/* Write the counts of the turn that ends, if one ends, and set all counts to zero. */
static void read_clock(void) {
  if (readings++ % 2) fprintf(file, "turn\n");
  for (block *b = blocks; b; b = b->next) {
    if (readings % 2 == 0 && b->runs) {
      fprintf(file, "%" PRIx64 " %zu %" PRIu64 " %" PRIu64 "\n", b->start, b->instructions, b->runs, b->taken);
    }
    b->runs = b->taken = 0;
  }
  fflush(file);
}

/* Count a run of a block. */
static void ran(unsigned cpu, void *data) {
  block *b = data;
  (void)cpu;
  if (clock_block && b->start == clock_block->start) read_clock();
  if (last && last->end != b->start) last->taken++;
  b->runs++;
  last = b;
}

/* Let QEMU call ran() at each run of a block. A block that is translated again keeps its counts. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  const size_t instructions = qemu_plugin_tb_n_insns(tb);
  const struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
  const struct qemu_plugin_insn *final = qemu_plugin_tb_get_insn(tb, instructions - 1);
  const uint64_t start = qemu_plugin_insn_vaddr(first);
  block *b = blocks;
  while (b && (b->start != start || b->instructions != instructions)) b = b->next;
  if (!b) {
    b = calloc(1, sizeof(*b));
    if (!b) abort();
    b->start = start;
    b->end = qemu_plugin_insn_vaddr(final) + qemu_plugin_insn_size(final);
    b->instructions = instructions;
    b->next = blocks;
    blocks = b;
  }
  const char *symbol = qemu_plugin_insn_symbol(first);
  if (!clock_block && symbol && !strcmp(symbol, "gs_now")) clock_block = b; /* its first block is translated first */
  qemu_plugin_register_vcpu_tb_exec_cb(tb, ran, QEMU_PLUGIN_CB_NO_REGS, b);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
                                                               char **argv) {
  (void)info, (void)argc, (void)argv;
  file = fopen("blocks.txt", "w");
  if (!file) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  return 0;
}
