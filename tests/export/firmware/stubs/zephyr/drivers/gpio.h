/* As much of Zephyr's pins as the example uses. */
#pragma once
#include <zephyr/kernel.h>
struct gpio_dt_spec {
  const struct device *port;
};
#define GPIO_OUTPUT_INACTIVE 0
#define GPIO_DT_SPEC_GET(node, property) {DEVICE_DT_GET(node)}
int gpio_pin_configure_dt(const struct gpio_dt_spec *pin, uint32_t flags);
int gpio_pin_toggle_dt(const struct gpio_dt_spec *pin);
