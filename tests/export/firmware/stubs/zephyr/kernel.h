/* As much of Zephyr's kernel as the example uses, for a compiler that only checks types. */
#pragma once
#include <stddef.h>
#include <stdint.h>
struct device {
  const char *name;
};
struct k_mem_slab {
  void *buffer;
};
#define K_MEM_SLAB_DEFINE_STATIC(name, size, count, align) static struct k_mem_slab name
#define DT_NODELABEL(label) 0
#define DT_ALIAS(alias) 0
#define DEVICE_DT_GET(node) ((const struct device *)(node))
void k_mem_slab_free(struct k_mem_slab *slab, void *block);
int printk(const char *format, ...);
