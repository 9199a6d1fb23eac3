# Prints the flash and RAM of a linked image by part, from the map that the linker writes.

function number(text,    i, value) {
  value = 0
  for (i = 3; i <= length(text); i++) value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
  return value
}

function name_part(file, section) {
  if (section == "*fill*") return "alignment"
  if (file !~ /(^|\/)(gatesearch|gs_plan|kernels)\.o$/) return "C library"
  if (output ~ /^\.(bss|data)/) {
    sub(/^\.(bss|data)\./, "", section)
    sub(/_[0-9]+$/, "", section)
    if (section == "gs_memory") return "memory of stages, or samples"
    return section == "now" ? "state of the loop" : section
  }
  if (file ~ /gatesearch\.o$/) return "code of the loop"
  if (file ~ /kernels\.o$/) return "code of kernels"
  return section ~ /^\.rodata\.c[0-9]+$/ ? "weights and tables" : "programs and settings"
}

function add(memory, part, bytes) {
  if (!bytes) return
  if (!((memory, part) in sizes)) parts[memory, ++counts[memory]] = part
  sizes[memory, part] += bytes
  totals[memory] += bytes
}

function print_memory(memory,    i) {
  for (i = 1; i <= counts[memory]; i++) printf "%s, %s: %d bytes\n", memory, parts[memory, i], sizes[memory, parts[memory, i]]
  printf "%s, together: %d bytes\n", memory, totals[memory]
}

/^Linker script and memory map/ { in_map = 1 }
in_map && /^\./ { output = $1 }
in_map && /^ (\.|COMMON|\*fill\*)/ && output ~ /^\.(text|rodata|data|bss|ARM\.ex)/ {
  section = $1
  if (NF == 1) {  # a long name has a line of its own
    getline
    bytes = number($2)
    file = $3
  } else {
    bytes = number($3)
    file = $4
  }
  part = name_part(file, section)
  if (output !~ /^\.bss/) add("flash", output ~ /^\.data/ ? "initial values of variables" : part, bytes)
  if (output ~ /^\.(data|bss)/) add("RAM", part, bytes)
}
END {
  print_memory("flash")
  print_memory("RAM")
}
