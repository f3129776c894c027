// The time of one step on a GPU.
#pragma once

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <vector>

#include "tests/kernels/kernel_lab.h"

namespace kvasir::test {

/// Median milliseconds of a step, after some for graphs and clocks.
template <class Program>
double step_ms(Lab& lab, const StepLayout& layout, Program program) {
  std::vector<double> times;
  for (int run = 0; run < 7; ++run) {
    lab.stream().begin(layout, layout.sequences.empty() ? nullptr : &lab.pool());
    program();
    const auto begin = std::chrono::steady_clock::now();
    const auto done = lab.stream().finish();
    if (!done) throw std::runtime_error(done.error().message);
    if (run >= 3) times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace kvasir::test
