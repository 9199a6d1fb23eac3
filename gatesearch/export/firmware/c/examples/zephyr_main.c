/* A Zephyr application: reads hops from a digital microphone (the DMIC driver) and blinks led0 at each detection.

   It was compiled against stubs of Zephyr's headers. It has not run on a board yet. */
#include <zephyr/audio/dmic.h>
#include <zephyr/drivers/gpio.h>
#include <zephyr/kernel.h>
#include "gatesearch.h"
#include "gs_plan.h"

#define BLOCK (GS_HOP * sizeof(int16_t))
K_MEM_SLAB_DEFINE_STATIC(blocks, BLOCK, 4, 4);
static const struct gpio_dt_spec led = GPIO_DT_SPEC_GET(DT_ALIAS(led0), gpios);

int main(void) {
  const struct device *microphone = DEVICE_DT_GET(DT_NODELABEL(dmic_dev));
  struct pcm_stream_cfg stream = {.pcm_width = 16, .pcm_rate = GS_RATE, .block_size = BLOCK, .mem_slab = &blocks};
  struct dmic_cfg config = {.io = {.min_pdm_clk_freq = 1000000, .max_pdm_clk_freq = 3500000, .min_pdm_clk_dc = 40,
                                   .max_pdm_clk_dc = 60},
                            .streams = &stream,
                            .channel = {.req_num_streams = 1, .req_num_chan = 1}};
  gs_detection detection;
  config.channel.req_chan_map_lo = dmic_build_channel_map(0, 0, PDM_CHAN_LEFT);
  if (gatesearch_init() || gpio_pin_configure_dt(&led, GPIO_OUTPUT_INACTIVE)) return 1;
  if (dmic_configure(microphone, &config) || dmic_trigger(microphone, DMIC_TRIGGER_START)) return 1;
  for (;;) {
    void *samples;
    uint32_t size;
    if (dmic_read(microphone, 0, &samples, &size, 1000)) continue;
    if (size == BLOCK && gatesearch_process(samples, &detection) > 0) {
      printk("%s\n", gatesearch_label(detection.label));
      gpio_pin_toggle_dt(&led);
    }
    k_mem_slab_free(&blocks, samples);
  }
}
