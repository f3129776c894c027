// Measures tokenizers. Not a test: run it by hand.
// VOCAB is a GGUF file, a tokenizer.json or a tokenizer.model.
//   bench_tokenizer VOCAB TEXTFILE [ROUNDS]    time to create, encode and decode speed (median of ROUNDS, processor
//   time)
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string>

#include "core/text/tokenizer.h"
#include "tests/support/data.h"
#include "tests/text/vocab_data.h"

namespace {

using kvasir::TokenId;
using kvasir::Tokenizer;

/// Processor time: what else runs on the machine takes time from us, but not this one.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double seconds(const std::function<void()>& work) {
  const double begin = processor_seconds();
  work();
  return processor_seconds() - begin;
}

double median_seconds(int rounds, const std::function<void()>& work) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) times.push_back(seconds(work));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

int measure(const std::string& vocabulary, const std::string& file, int rounds) {
  const auto data = kvasir::test::read_any_vocabulary(vocabulary);
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<double> loads;
  for (int i = 0; i < 5; ++i) {
    auto copy = data;
    loads.push_back(seconds([&] { tokenizer = std::move(*Tokenizer::create(std::move(copy))); }));
  }
  std::sort(loads.begin(), loads.end());
  const double load = loads[2];
  const std::string text = kvasir::test::read_file(file);
  size_t ids = 0;
  const double encode = median_seconds(rounds, [&] { ids = tokenizer->encode(text, {})->ids.size(); });
  const auto encoded = *tokenizer->encode(text, {});
  size_t bytes = 0;
  const double decode = median_seconds(rounds, [&] { bytes = tokenizer->decode(encoded.ids, true)->size(); });
  const double mb = static_cast<double>(text.size()) / 1e6;
  std::printf("%s: create %.1f ms; %zu tokens; encode %.1f MB/s, %.2f Mtok/s; decode %.0f MB/s (%zu bytes)\n",
              vocabulary.c_str(), load * 1e3, ids, mb / encode, static_cast<double>(ids) / encode / 1e6, mb / decode,
              bytes);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "bench_tokenizer VOCAB TEXTFILE [ROUNDS]\n");
    return 64;
  }
  return measure(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 9);
}
