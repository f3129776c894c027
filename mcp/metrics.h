// Counters for /metrics, in Prometheus' text format with the names of conventions.md §6.3 (as far as they exist yet).
// Labels are methods, transports and outcomes, never users or prompts. Owned by the host; io thread only.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "core/engine/engine_metrics.h"
#include "core/engine/messages.h"
#include "rpc/net/server.h"
#include "rpc/service.h"

namespace kvasir::mcp {

class Metrics {
 public:
  /// `outcome`: ok, error, cancelled.
  void call_finished(std::string_view method, rpc::Transport transport, std::string_view outcome, double seconds);
  void generated(const GenerateResult& result);
  void cancelled(rpc::CancelCause cause);
  void cancelled_slow_reader() { ++cancelled_["slow_reader"]; }

  std::string text(const rpc::Server::Stats& server, const EngineMetrics& engine, size_t pending_calls,
                   size_t http_sessions) const;

 private:
  template <size_t N>
  struct Histogram {
    std::array<uint64_t, N + 1> buckets{};  ///< the last one is +Inf
    double sum = 0;
    void observe(const std::array<double, N>& bounds, double value) {
      size_t i = 0;
      while (i < N && value > bounds[i]) ++i;
      ++buckets[i];
      sum += value;
    }
  };
  // vLLM's bounds, so that its dashboards carry over.
  static constexpr std::array<double, 14> kRequestBounds = {0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 60};
  static constexpr std::array<double, 15> kFirstTokenBounds = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                                               0.25,  0.5,   0.75, 1,    2.5,  5,    10};
  static constexpr std::array<double, 12> kTokenBounds = {0.01, 0.025, 0.05, 0.075, 0.1,  0.15,
                                                          0.2,  0.3,   0.4,  0.5,   0.75, 1};

  template <size_t N>
  static void write(std::string& out, std::string_view name, std::string_view labels,
                    const std::array<double, N>& bounds, const Histogram<N>& histogram);

  std::map<std::tuple<std::string, std::string, std::string>, Histogram<14>> requests_;
  std::map<std::string, uint64_t> cancelled_;
  Histogram<15> first_token_;
  Histogram<12> inter_token_;
  Histogram<14> queue_wait_;
  uint64_t prompt_tokens_ = 0, generated_tokens_ = 0, cached_tokens_ = 0;
};

}  // namespace kvasir::mcp
